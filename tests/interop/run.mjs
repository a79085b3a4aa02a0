//! Runs page.js in Chromium beside a Heartchain page: `npm ci && node run.mjs ../../target/debug/relay`. It starts a relay and
//! a browser of its own, at ports that the system chooses, and ends both. It needs Node 20 and `chromium` in PATH.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** Fifty connections take half a minute on a quiet machine. */
const LIMIT_MS = 300_000;
/** What keeps a page out of a frame; this test looks into one. */
const FRAME_HEADERS = ["content-security-policy", "x-frame-options", "cross-origin-opener-policy"];

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "heartchain-interop-"));
const children = [];
let passed = false;
try {
  const script = await bundle();
  const heartchain = await startRelay(process.argv[2] ?? join(here, "../../target/debug/relay"));
  const { page, reported } = await serve(script, heartchain);
  start("chromium", [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    `--user-data-dir=${join(folder, "profile")}`, page,
  ]);
  const report = await Promise.race([reported, timeout()]);
  console.log(report);
  passed = report.passed;
} catch (error) {
  console.error(error);
} finally {
  for (const child of children) child.kill("SIGKILL");
  // Chromium's helper processes end a moment after it, and write until then.
  await rm(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 20 });
}
process.exit(passed ? 0 : 1);

function start(program, flags) {
  const child = spawn(program, flags, { stdio: ["ignore", "pipe", "ignore"] });
  children.push(child);
  return child;
}

async function bundle() {
  const outfile = join(folder, "page.js");
  await build({ entryPoints: [join(here, "page.js")], bundle: true, format: "esm", outfile, logLevel: "error" });
  return readFileSync(outfile);
}

/** @returns {Promise<string>} the page's address */
function startRelay(binary) {
  const ports = ["http", "ws", "webrtc", "stun"].flatMap((name) => [`--${name}-port`, "0"]);
  const relay = start(binary, [...ports, "--seed", "77"]);
  return new Promise((resolve, reject) => {
    let said = "";
    relay.stdout.on("data", (data) => {
      said += data;
      const page = /^Open (http\S+)/m.exec(said)?.[1];
      if (page !== undefined) resolve(page);
    });
    relay.on("error", reject);
    relay.on("exit", () => reject(new Error("the relay ended")));
  });
}

/** Serves the test's page, and the Heartchain page at the same origin, so that the one can look into the other. */
async function serve(script, heartchain) {
  let report;
  const reported = new Promise((resolve) => (report = resolve));
  const server = http.createServer((request, response) => {
    if (request.method === "POST") {
      let body = "";
      request.on("data", (data) => (body += data));
      request.on("end", () => {
        response.end();
        report(JSON.parse(body));
      });
    } else if (request.url === "/page.js") {
      response.writeHead(200, { "content-type": "text/javascript" }).end(script);
    } else if (request.url === "/") {
      const html = '<!doctype html><iframe src="/heartchain/"></iframe><script type="module" src="/page.js"></script>';
      response.writeHead(200, { "content-type": "text/html" }).end(html);
    } else {
      forward(request, response, new URL(request.url.replace(/^\/heartchain\//, ""), heartchain));
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { page: `http://127.0.0.1:${server.address().port}/`, reported };
}

function forward({ headers }, response, url) {
  const encoding = { "accept-encoding": headers["accept-encoding"] ?? "" };
  const asked = http.get(url, { headers: encoding }, (answer) => {
    for (const name of FRAME_HEADERS) delete answer.headers[name];
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  asked.on("error", () => response.writeHead(502).end());
}

function timeout() {
  return new Promise((_, reject) => setTimeout(() => reject(new Error("no report in time")), LIMIT_MS));
}
