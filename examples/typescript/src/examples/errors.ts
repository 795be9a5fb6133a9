/** Every failure is one typed error, ready for an HTTP answer: node dist/src/examples/errors.js */
import { ModalClient, RylaError } from "../ryla.js";

const ryla = new ModalClient();

/** What a backend would send to its own caller. */
async function answer(work: () => Promise<{ seed: number | bigint }>): Promise<{ status: number; body: object }> {
  try {
    return { status: 200, body: { seed: String((await work()).seed) } };
  } catch (error) {
    if (!(error instanceof RylaError)) throw error;
    const { code, httpStatus, message, hint, details } = error;
    return { status: httpStatus, body: { code, message, hint, details } };
  }
}

try {
  const small = { prompt: "a fox", width: 256, height: 256, steps: 2 };
  const answers = [
    await answer(() => ryla.generateFluxDev({ ...small, width: 250 })),
    await answer(() => ryla.generateFluxLoRA({ ...small, loraId: "nobody", triggerWord: "fox" })),
    await answer(() => ryla.generateFluxDev({ ...small, seed: 2 ** 60 })),
    await answer(() => ryla.generateFluxDev({ ...small, width: 2048, height: 2048, steps: 100 }, { timeoutMs: 300 })),
  ];
  for (const { status, body } of answers) console.log(status, JSON.stringify(body));
} finally {
  ryla.close();
}
