// Receives webhooks as a backend would, with the compiled module; prints its port, then each event, or why it refused one.
import { createServer } from "node:http";
import { verifyWebhook } from "./src/webhook.js";

const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  try {
    const event = verifyWebhook(process.env.RYLA_GEN_WEBHOOK_SECRET ?? "", request.headers, Buffer.concat(pieces));
    console.log(JSON.stringify({ event, id: request.headers["webhook-id"] }));
    response.writeHead(204).end();
  } catch (error) {
    console.log(JSON.stringify({ refused: error.message }));
    response.writeHead(400).end(error.message);
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
