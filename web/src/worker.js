/** A player in a Worker; `in-worker.js` is the other side. */
import { open } from "./index.js";

/** @type {import("./index.js").Player | undefined} */
let player;
/** @type {Map<number, AbortController>} */
const running = new Map();

self.addEventListener("message", async ({ data: { id, call, given } }) => {
  if (call === "cancel") return running.get(id)?.abort();
  const stopping = new AbortController();
  running.set(id, stopping);
  try {
    const progress = (/** @type {any[]} */ ...step) => self.postMessage({ id, progress: step });
    self.postMessage({ id, result: await answer(call, given, { progress, signal: stopping.signal }) });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
    self.postMessage({ id, error: { name, message } });
  } finally {
    running.delete(id);
  }
});

/**
 * @param {string} call
 * @param {any} given
 * @param {import("./index.js").Run} run
 */
async function answer(call, given, run) {
  if (call === "open") {
    const ort = await import(given.ort);
    ort.env.wasm.wasmPaths = new URL(".", given.ort).href;
    ort.env.logLevel = "error";
    const cores = self.crossOriginIsolated ? Math.ceil(navigator.hardwareConcurrency / 2) : 1;
    const threads = given.threads || Math.min(4, cores);
    ort.env.wasm.numThreads = threads;
    /** @returns {import("./sessions.js").SessionOptions} */
    const on = (/** @type {string} */ provider) => ({ executionProviders: [provider], logSeverityLevel: 3 });
    player = await open(given.where, ort, {
      signal: run.signal,
      sessionOptions: on("wasm"),
      // Alone: beside another one, a WebGPU that does not start would be left out in silence.
      generatorOptions: on(given.webgpu ? "webgpu" : "wasm"),
    });
    const { model, sha256, rates, codec, generationDefaults } = player;
    return { model, sha256, rates, codec, generationDefaults, threads };
  }
  if (!player) throw new Error("nothing is open");
  if (call === "vary") return player.vary(given.samples, given.rate, { ...given.options, ...run });
  if (call === "encode") return player.encode(given.samples, given.rate, { ...given.options, ...run });
  if (call === "decode") return player.decode(given.codes, run);
  if (call === "mask") return player.mask(given.frames, given.options, run);
  return player.close();
}
