/**
 * Runs graphs on onnxruntime-web, on WebAssembly in Chromium, for the execution matrix.
 *
 *     node browser.js FOLDER CHROMIUM    FOLDER/node_modules has the package
 */
import { existsSync } from "node:fs";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { opened } from "./chromium.js";
import { INPUTS, OUTPUTS, serve } from "./requests.js";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const [, , PACKAGES, CHROMIUM] = process.argv;
const DIST = join(PACKAGES, "node_modules", "onnxruntime-web", "dist");
const PAGE =
  "<!doctype html><title>matrix</title><link rel=icon href=data:,>" +
  "<script type=module src=/page.js></script>";
const TYPES = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin", // threads need both
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cache-Control": "no-store",
};

/** Files that the page asks for, by address; nothing else is served. @type {Map<string, string>} */
const files = new Map();
let folder = "";
/** @type {import("./chromium.js").Page | undefined} */
let page;

const server = createServer(async (request, response) => {
  try {
    const { pathname } = new URL(request.url ?? "/", "http://here");
    if (request.method === "PUT") {
      const parts = [];
      for await (const part of request) parts.push(part);
      await writeFile(join(folder, OUTPUTS), Buffer.concat(parts));
      response.writeHead(204, HEADERS).end();
    } else if (pathname === "/") {
      response.writeHead(200, { ...HEADERS, "Content-Type": "text/html" }).end(PAGE);
    } else {
      const path = files.get(pathname) ?? join(DIST, basename(pathname));
      const type = TYPES[/** @type {keyof typeof TYPES} */ (extname(path))];
      const body = await readFile(path);
      const kind = { "Content-Type": type ?? "application/octet-stream" };
      response.writeHead(200, { ...HEADERS, ...kind }).end(body);
    }
  } catch (error) {
    response.writeHead(404, HEADERS).end(String(error));
  }
});

/** Run a function of the page; its arguments and what it gives are plain. */
const call = async (/** @type {string} */ name, /** @type {any[]} */ ...given) =>
  page?.run(`matrix.${name}(...${JSON.stringify(given)})`);

await serve({
  async start({ folder: given, threads }) {
    if (!existsSync(DIST)) return { lacks: `${DIST} is not there` };
    folder = given;
    for (const name of ["arrays.js", "page.js"]) files.set(`/${name}`, join(HERE, name));
    files.set(`/${INPUTS}`, join(folder, INPUTS));
    await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
    const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
    try {
        page = await opened(CHROMIUM, join(folder, "chromium"));
    } catch (error) {
      return { lacks: `${CHROMIUM}: ${error instanceof Error ? error.message : error}` };
    }
    await page.ask("Page.navigate", { url: `http://127.0.0.1:${port}/` });
    while (!(await page.run("Boolean(globalThis.matrix)"))) {
      if (page.problems.length) throw new Error(page.problems[0]);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const version = await call("start", threads);
    const { product } = await page.ask("Browser.getVersion");
    return { what: `onnxruntime-web ${version} on WebAssembly, ${product}`, version };
  },
  async open({ graph, path }) {
    const address = `/graph/${graph}`;
    files.set(address, path);
    const content = await readFile(path);
    const beside = [];
    for (const name of await readdir(dirname(path))) {
      // Of the files beside it, those that it names.
      if (name.endsWith(".data") && content.includes(name)) {
        files.set(`${address}/${name}`, join(dirname(path), name));
        beside.push({ path: name, data: `${address}/${name}` });
      }
    }
    await call("open", graph, address, beside);
    return {};
  },
  run: ({ graph, arrays }) => call("run", graph, arrays),
  close: ({ graph }) => call("close", graph),
});
server.close();
await page?.close();
