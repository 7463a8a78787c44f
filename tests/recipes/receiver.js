// node receiver.js 8080; secret and login come from the environment.
const { createHmac, timingSafeEqual } = require("node:crypto");
const { createServer } = require("node:http");

const { TRACKER_SECRET, TRACKER, TRACKER_USER, TRACKER_PASSWORD } = process.env;
const KEY = Buffer.from(TRACKER_SECRET.replace(/^whsec_/, ""), "base64");
const LOGIN = Buffer.from(`${TRACKER_USER}:${TRACKER_PASSWORD}`).toString("base64");
const kept = new Map(); // belongs into your database

function signed(headers, body) {
  const at = headers["webhook-timestamp"] ?? "";
  if (!/^[0-9]{1,12}$/.test(at) || Math.abs(Date.now() / 1000 - at) > 300) return false;
  const mac = createHmac("sha256", KEY).update(`${headers["webhook-id"]}.${at}.`).update(body);
  const right = Buffer.from("v1," + mac.digest("base64"));
  const given = (headers["webhook-signature"] ?? "").split(" ").map((one) => Buffer.from(one));
  return given.filter((one) => one.length === right.length && timingSafeEqual(one, right)).length > 0;
}

function judge({ resource, account, merged, snapshot }) {
  const key = JSON.stringify([account.driver, account.provider, account.id, resource.collection, resource.id]);
  const before = kept.get(key);
  if (resource.revision < before) return ["late", key];
  if (resource.revision === before && !snapshot) return ["duplicate", key];
  kept.set(key, resource.revision); // together with what you do about event.to, in one transaction
  if (snapshot) return ["snapshot", key];
  return [resource.revision > before + 1 + (merged?.count ?? 0) ? "hole" : "new", key];
}

async function resync(key, { collection, id, revision }) {
  const url = `${TRACKER}/${collection}/${encodeURIComponent(id)}`;
  const answer = await fetch(url, { headers: { accept: "application/json", authorization: `Basic ${LOGIN}` } });
  if (!answer.ok) throw new Error(answer.status); // 404: it is gone
  const [now] = Object.values(await answer.json());
  if (kept.get(key) !== revision) return; // a later event has said more
  console.log(`resynced ${collection}/${id} ${now.state}`);
}

function receive(path, headers, body) {
  if (!signed(headers, body)) return [401, "refused"];
  if (path !== "/cb") return [410, "ended"]; // nobody wants these any more
  const event = JSON.parse(body);
  if (event.test) return [204, `test ${event.hook.id}`];
  const [word, key] = judge(event);
  const { collection, id, revision } = event.resource;
  if (word === "hole") resync(key, event.resource).catch((error) => console.error(`not resynced: ${error}`));
  return [204, `${word} ${collection}/${id} ${revision}`];
}

const server = createServer(async (request, response) => {
  let body = Buffer.alloc(0);
  for await (const chunk of request) {
    if (body.length < 1 << 20) body = Buffer.concat([body, chunk]);
  }
  const [status, said] = receive(request.url, request.headers, body);
  console.log(said);
  response.writeHead(status).end();
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log(`listens on ${server.address().port}`));
