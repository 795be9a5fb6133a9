// Calls a method of the sample app through Modal's own SDK for TypeScript: node typescript.mjs METHOD JSON-ARGUMENT
import { ModalClient } from "modal";

const [name, argument] = process.argv.slice(2);
const client = new ModalClient();
const cls = await client.cls.fromName("sample", "Worker");
const instance = await cls.instance();
const request = { ...JSON.parse(argument), image: Buffer.from("\x89PNG", "latin1") };
try {
  const reply = await instance.method(name).remote(name === "fail" ? [request.text] : [request]);
  console.log(JSON.stringify({ ...reply, image: Buffer.from(reply.image).toString("latin1") }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error) }));
}
client.close();
