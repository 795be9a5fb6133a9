/** A picture from a prompt, saved: node dist/src/examples/fluxDev.js "a fox in the snow" fox.png */
import { writeFile } from "node:fs/promises";
import { ModalClient } from "../ryla.js";

const [prompt = "a fox in the snow", file = "fox.png"] = process.argv.slice(2);
const ryla = new ModalClient();
try {
  const result = await ryla.generateFluxDev(
    { prompt, width: 768, height: 768, steps: 8, guidance: 3.5 },
    { timeoutMs: 180_000, onEvent: (event) => event.type === "progress" && console.log(`${Math.round(event.fraction * 100)} %`) },
  );
  await writeFile(file, result.image);
  console.log(`${file}: seed ${result.seed}, ${result.timings.running.toFixed(1)} s, $${result.costUsd.toFixed(4)}`);
  for (const warning of result.warnings) console.log(`note: ${warning.message}`);
} finally {
  ryla.close();
}
