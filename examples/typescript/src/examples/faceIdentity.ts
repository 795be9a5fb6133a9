/** The face of one picture in a new one: node dist/src/examples/faceIdentity.js face.jpg portrait.png */
import { readFile, writeFile } from "node:fs/promises";
import { ModalClient } from "../ryla.js";

const [face = "face.jpg", file = "portrait.png"] = process.argv.slice(2);
const ryla = new ModalClient();
try {
  const { image, seed } = await ryla.generateFluxInstantID({
    prompt: "portrait in a sunlit library, soft light",
    referenceImage: await readFile(face), // a Buffer, as it comes from a disk, an upload or a bucket
    instantidStrength: 0.8,
    width: 768,
    height: 768,
    steps: 8,
    instantidSteps: 8,
  });
  await writeFile(file, image);
  console.log(`${file}: seed ${seed}`);
} finally {
  ryla.close();
}
