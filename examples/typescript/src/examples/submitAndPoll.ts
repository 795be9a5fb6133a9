/** Submit now, look later, from any process that kept the two ids: node dist/src/examples/submitAndPoll.js [JOB CALL_ID] */
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { ModalClient, type Submitted } from "../ryla.js";

const [job, callId] = process.argv.slice(2);
const ryla = new ModalClient();
try {
  const options = { prompt: "a lighthouse at dusk", width: 512, height: 512, steps: 8, seed: 2n ** 40n };
  const submitted: Submitted = job && callId ? { job, callId } : await ryla.submit("flux_dev", options);
  console.log(`submitted ${submitted.job} ${submitted.callId}`);
  for (;;) {
    const now = await ryla.poll(submitted.callId, submitted.job);
    if (now.state === "queued") console.log("queued");
    else if (now.state === "running") console.log(`running, ${Math.round(now.fraction * 100)} %`);
    else if (now.state === "succeeded") {
      await writeFile("lighthouse.png", now.result.images[0] ?? "");
      console.log(`succeeded: lighthouse.png, seed ${now.result.seed}`);
      break;
    } else throw now.error;
    await sleep(500);
  }
} finally {
  ryla.close();
}
