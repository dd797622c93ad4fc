/**
 * A player in a Worker, so that a page stays usable while it works.
 *
 *     const worker = new Worker(new URL("vampnet-onnx/worker", import.meta.url), { type: "module" });
 *     const player = await openInWorker(worker, artifacts, ortModule);
 */
import { InputError } from "./errors.js";

/**
 * @typedef {import("./index.js").Run} Run
 * @typedef {import("./index.js").Samples} Samples
 * @typedef {import("./index.js").Options} Options
 * @typedef {import("./index.js").Codes} Codes
 */

/**
 * Open a version in a Worker of `worker.js`.
 * @param {Worker} worker
 * @param {string} where address of the folder
 * @param {string} ort address of onnxruntime-web's module, beside its WebAssembly
 * @param {{threads?: number, webgpu?: boolean} & Run} [options] threads of WebAssembly, left out
 *   half of the cores and 4 at most, 1 where the page is not isolated; and whether the generators
 *   run on WebGPU, which `ort` must have then (ort.all.min.mjs), and the browser an adapter for
 */
export async function openInWorker(worker, where, ort, { threads = 0, webgpu = false, ...run } = {}) {
  let calls = 0;
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void, run: Run}>} */
  const waiting = new Map();
  worker.addEventListener("message", ({ data: { id, progress, result, error } }) => {
    const call = waiting.get(id);
    if (!call) return;
    if (progress) return call.run.progress?.(.../** @type {[string, number, number]} */ (progress));
    waiting.delete(id);
    if (error?.name === "InputError") call.reject(new InputError(error.message));
    else if (error) call.reject(new DOMException(error.message, error.name));
    else call.resolve(result);
  });
  worker.addEventListener("error", (event) => {
    for (const { reject } of waiting.values()) reject(new Error(`the Worker stopped: ${event.message}`));
    waiting.clear();
  });
  const ask = (/** @type {string} */ call, /** @type {object} */ given, /** @type {Run} */ run = {}) =>
    new Promise((resolve, reject) => {
      const id = (calls += 1);
      waiting.set(id, { resolve, reject, run });
      run.signal?.addEventListener("abort", () => worker.postMessage({ id, call: "cancel" }));
      worker.postMessage({ id, call, given });
    });
  const facts = await ask("open", { where: absolute(where), ort: absolute(ort), threads, webgpu }, run);
  return {
    .../** @type {Pick<import("./index.js").Player, "model" | "sha256" | "rates" | "codec" | "generationDefaults"> & {threads: number}} */ (facts),
    webgpu,
    /** @type {import("./index.js").Player["vary"]} */
    vary: (samples, rate, { progress, signal, ...options } = {}) =>
      ask("vary", { samples, rate, options }, { progress, signal }),
    /** @type {import("./index.js").Player["encode"]} */
    encode: (samples, rate, { progress, signal, ...options } = {}) =>
      ask("encode", { samples, rate, options }, { progress, signal }),
    /** @type {import("./index.js").Player["decode"]} */
    decode: (codes, run = {}) => ask("decode", { codes }, run),
    /** @type {import("./index.js").Player["mask"]} */
    mask: (frames, options = {}, run = {}) => ask("mask", { frames, options }, run),
    close: () => ask("close", {}).then(() => worker.terminate()),
  };
}

/** @param {string} address */
function absolute(address) {
  return new URL(address, globalThis.location?.href).href;
}
