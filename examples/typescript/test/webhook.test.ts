/** Webhooks: what the sender signed is taken, and whatever was changed on the way is not. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { verifyWebhook, WebhookError } from "../src/webhook.js";

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../../test/golden.json"), "utf8")) as Record<string, unknown>; // from dist/test
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/** The example of the specification (Standard Webhooks 1.0). */
const HEADERS = {
  "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
  "webhook-timestamp": "1614265330",
  "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
};
const BODY = '{"test": 2432232314}';
const THEN = new Date(1614265330_000);

function signed(body: string, sent: number): Record<string, string> {
  const key = Buffer.from(SECRET.slice(6), "base64");
  const digest = createHmac("sha256", key).update(`msg_1.${sent}.${body}`).digest("base64");
  return { "webhook-id": "msg_1", "webhook-timestamp": `${sent}`, "webhook-signature": `v1,${digest}` };
}

function refused(headers: Record<string, string | string[] | undefined>, body: Uint8Array | string = BODY, secrets = SECRET, now = THEN): void {
  assert.throws(() => verifyWebhook(secrets, headers, body, now), WebhookError);
}

test("the example of the specification is verified, as text and as bytes", () => {
  assert.deepEqual(verifyWebhook(SECRET, HEADERS, BODY, THEN), { test: 2432232314 });
  assert.deepEqual(verifyWebhook(`whsec_QUJD ${SECRET}`, HEADERS, Buffer.from(BODY), THEN), { test: 2432232314 });
  const several = { ...HEADERS, "webhook-signature": `v1,AAAA v2,other ${HEADERS["webhook-signature"]}` };
  assert.deepEqual(verifyWebhook(SECRET, several, new TextEncoder().encode(BODY), THEN), { test: 2432232314 });
});

test("whatever is changed, or missing, is refused", () => {
  for (const name of Object.keys(HEADERS)) {
    for (const value of ["", "x", "1614265331", "v1,", "v1,AAAA", undefined, ["v1,AAAA"]]) refused({ ...HEADERS, [name]: value });
  }
  refused(HEADERS, BODY.replace("4", "5"));
  refused(HEADERS, "");
  for (const secrets of ["", " ", "whsec_", "whsec_AAAA", SECRET.slice(6)]) refused(HEADERS, BODY, secrets);
});

test("an event is taken for five minutes, either way", () => {
  for (const seconds of [-301, 301]) refused(HEADERS, BODY, SECRET, new Date(THEN.getTime() + seconds * 1000));
  for (const seconds of [-299, 299]) assert.ok(verifyWebhook(SECRET, HEADERS, BODY, new Date(THEN.getTime() + seconds * 1000)));
});

test("the golden events are read, with nothing lost", () => {
  const sent = Math.floor(Date.now() / 1000);
  const [succeeded, failed] = ["webhook_succeeded", "webhook_failed"].map((name) => {
    const body = JSON.stringify(golden[name]);
    return verifyWebhook(SECRET, signed(body, sent), body);
  });
  assert.deepEqual([succeeded, failed], [golden["webhook_succeeded"], golden["webhook_failed"]]);
  assert.deepEqual([succeeded?.type, succeeded?.data.outputs[0]?.url], ["job.succeeded", "https://bucket.example/flux_dev-7-0.png"]);
  assert.deepEqual([failed?.data.state, failed?.data.error], ["failed", { code: "face_not_found", http_status: 400 }]);
});
