/** A face from all sides: node dist/src/examples/characterSheet.js face.png mia/ [JOB.json] */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Characters, type CharacterJob } from "../characters.js";
import { ModalClient } from "../ryla.js";

const [face = "face.png", folder = "mia", kept] = process.argv.slice(2);
const ryla = new ModalClient();
try {
  const characters = new Characters(ryla);
  const size = { width: 512, height: 512, steps: 8 };
  const job: CharacterJob = kept
    ? JSON.parse(await readFile(kept, "utf8"))
    : await characters.submitCharacterSheet(await readFile(face), false, ["front", "profile-left", "back"], { prompt: "red hair", seed: 7, ...size });
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/job.json`, JSON.stringify(job)); // any process that has it can ask
  for (let now = await characters.status(job); ; now = await characters.status(job)) {
    console.log(`${now.state}: ${now.succeeded} of ${now.total}, ${Math.round(now.fraction * 100)} %`);
    if (now.state === "queued" || now.state === "running") {
      await sleep(500);
      continue;
    }
    for (const { name, now: part } of now.parts) {
      if (part.state === "succeeded") await writeFile(`${folder}/${name}.png`, part.result.images[0] ?? "");
      else if ("error" in part) console.log(`${name}: ${part.error.message}`);
    }
    break;
  }
} finally {
  ryla.close();
}
