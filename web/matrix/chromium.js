/** A page in Chromium without a window, driven by the browser's own protocol over a pipe. */
import { spawn } from "node:child_process";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--remote-debugging-pipe", // it ends with whoever drives it, however that ends
];

/**
 * @typedef {object} Page
 * @property {(method: string, params?: object) => Promise<any>} ask of the protocol
 * @property {(expression: string) => Promise<any>} run evaluates, and waits for a promise
 * @property {() => Promise<void>} close ends the browser
 * @property {string[]} problems exceptions, and errors and warnings in the console
 */

/**
 * Start the browser with one empty page.
 * @param {string} program
 * @param {string} folder for what it keeps
 * @param {string[]} [graphics] flags of its graphics; it has none if left out
 * @returns {Promise<Page>}
 * @throws {Error} it does not start
 */
export async function opened(program, folder, graphics = ["--disable-gpu"]) {
  const options = [...FLAGS, ...graphics, `--user-data-dir=${folder}`, "about:blank"];
  const browser = spawn(program, options, { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] });
  const [, , words, to, from] = /** @type {any[]} */ (browser.stdio);
  /** @type {Map<number, {resolve: (found: any) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  /** @type {string[]} */
  const problems = [];
  let said = "";
  words.on("data", (/** @type {Buffer} */ chunk) => {
    said = (said + chunk).slice(-2000);
  });
  const gone = new Promise((resolve) => {
    browser.on("error", resolve);
    browser.on("exit", () => resolve(new Error(`the browser ended: ${said.trim()}`)));
  });
  gone.then((error) => {
    for (const { reject } of waiting.values()) reject(error);
  });
  to.on("error", () => {}); // it has ended, which is told
  const hear = (/** @type {string} */ text) => {
    const { id, result, error, method, params } = JSON.parse(text);
    const asked = waiting.get(id);
    waiting.delete(id);
    if (error) asked?.reject(new Error(error.message));
    else asked?.resolve(result);
    if (method === "Runtime.exceptionThrown") problems.push(JSON.stringify(params.exceptionDetails));
    if (method === "Log.entryAdded" && params.entry.level === "error") problems.push(params.entry.text);
    if (method === "Runtime.consoleAPICalled" && ["error", "warning"].includes(params.type)) {
      problems.push(JSON.stringify(params.args));
    }
  };
  let begun = "";
  from.setEncoding("utf8").on("data", (/** @type {string} */ chunk) => {
    const [first, ...rest] = chunk.split("\0");
    begun += first;
    for (const part of rest) {
      hear(begun);
      begun = part;
    }
  });
  let calls = 0;
  /** @type {{sessionId?: string}} */
  let session = {};
  const ask = (/** @type {string} */ method, /** @type {object} */ params = {}) =>
    new Promise((resolve, reject) => {
      calls += 1;
      waiting.set(calls, { resolve, reject });
      if (browser.exitCode !== null || browser.signalCode !== null) gone.then(reject);
      else to.write(`${JSON.stringify({ id: calls, method, params, ...session })}\0`);
    });
  const { targetInfos } = await ask("Target.getTargets");
  const { targetId } = targetInfos.find((/** @type {any} */ { type }) => type === "page");
  session = await ask("Target.attachToTarget", { targetId, flatten: true });
  for (const domain of ["Page", "Runtime", "Log", "DOM"]) await ask(`${domain}.enable`);
  return {
    ask,
    problems,
    run: async (expression) => {
      const how = { awaitPromise: true, returnByValue: true };
      const made = await ask("Runtime.evaluate", { expression, ...how });
      const wrong = made.exceptionDetails;
      if (wrong) throw new Error(wrong.exception?.description ?? wrong.text);
      return made.result.value;
    },
    close: async () => {
      browser.kill();
      await gone;
    },
  };
}
