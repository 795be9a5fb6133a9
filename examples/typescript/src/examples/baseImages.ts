/** Four faces to choose from, then the chosen one in a new picture: node dist/src/examples/baseImages.js "a woman with red hair" */
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Characters, type CharacterJob } from "../characters.js";
import { ModalClient } from "../ryla.js";

const [prompt = "portrait of a woman with red hair"] = process.argv.slice(2);
const size = { width: 512, height: 512, steps: 8 };
const ryla = new ModalClient();
const characters = new Characters(ryla);

/** The pictures of a job, in order, once all of them are there. */
async function pictures(job: CharacterJob): Promise<Buffer[]> {
  for (;;) {
    const { state, parts } = await characters.status(job);
    if (state === "succeeded") return parts.map(({ now }) => (now.state === "succeeded" ? now.result.images[0] : undefined) ?? Buffer.alloc(0));
    if (state !== "queued" && state !== "running") throw parts.map(({ now }) => ("error" in now ? now.error : undefined)).find(Boolean);
    await sleep(500);
  }
}

try {
  const faces = await pictures(await characters.submitBaseImages(prompt, false, 7, 2, size));
  for (const [index, face] of faces.entries()) await writeFile(`base-${index + 1}.png`, face);
  const [swapped] = await pictures(await characters.submitFaceSwap(faces[1] ?? Buffer.alloc(0), "reading in a library", false, 7, size));
  await writeFile("swap.png", swapped ?? "");
  console.log(`${faces.length} base images and a face swap`);
} finally {
  ryla.close();
}
