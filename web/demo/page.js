/** The page: a clip, options, a variation; everything heavy is in a Worker. */
import { readClip, recorder } from "./clip.js";
import { drawMask, drawSpectrogram } from "./pictures.js";
import { abPlayer } from "./listening.js";
import { build, read, write } from "./fields.js";
import { writeWav } from "../src/audio-file.js";
import { openInWorker } from "../src/in-worker.js";

/** @typedef {import("../src/audio-file.js").Audio & {name: string, note: string}} Clip */

const ARTIFACTS = "/artifacts/";
const ORT = "/ort/ort.wasm.min.mjs";
const ORT_WITH_WEBGPU = "/ort/ort.all.min.mjs";

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
const at = (id) => /** @type {T} */ (document.getElementById(id));

/** @type {Awaited<ReturnType<typeof openInWorker>>} */
let player;
/** @type {Clip | undefined} */
let clip;
/** @type {AbortController | undefined} */
let working;
const listening = abPlayer(at("play"));

/**
 * Run what a person asked for; say in a sentence what is wrong with it.
 * @param {() => Promise<void>} act
 */
async function tried(act) {
  at("problem").hidden = true;
  try {
    await act();
  } catch (error) {
    if (error instanceof Error && error.name === "AbortError") {
      at("doing").textContent = "Stopped.";
      return;
    }
    at("problem").textContent = error instanceof Error ? error.message : String(error);
    at("problem").hidden = false;
  }
}

/** Where the address says that the transformers run: "webgpu", "wasm", or null. */
const askedOn = () => new URLSearchParams(location.search).get("on");

/** Open the artifacts, and what the address asks for. */
async function begin() {
  const worker = new Worker(new URL("../src/worker.js", import.meta.url), { type: "module" });
  const { name: adapter, use: webgpu } = await graphics();
  player = await openInWorker(worker, ARTIFACTS, webgpu ? ORT_WITH_WEBGPU : ORT, { webgpu });
  const threads = player.threads === 1 ? "one thread" : `${player.threads} threads`;
  at("version").textContent =
    `${player.model}, version ${player.sha256.slice(0, 12)}, ${player.codec.sampleRate} Hz; computes in` +
    ` WebAssembly on ${threads}${webgpu ? `, coarse and c2f on WebGPU (${adapter})` : ""}`;
  at("elsewhere").hidden = !adapter;
  at("elsewhere").textContent = webgpu ? "Compute all in WebAssembly" : `Use WebGPU (${adapter})`;
  at("elsewhere").addEventListener("click", () => {
    location.search = `?on=${webgpu ? "wasm" : "webgpu"}`;
  });
  build(at("fields"), player.generationDefaults);
  const asked = new URLSearchParams(location.hash.slice(1));
  const version = asked.get("version");
  write(asked);
  at("fields").addEventListener("input", () => tried(showMask));
  if (asked.get("clip") === "example") await takeExample();
  if (version && version !== player.sha256) {
    throw new Error(
      `the link is of version ${version.slice(0, 12)}, this page plays ${player.sha256.slice(0, 12)}:` +
        " the music will be another; serve that version",
    );
  }
  if (askedOn() === "webgpu" && !webgpu) {
    throw new Error(
      "the link was made on WebGPU, for which this browser has no adapter: this page computes in WebAssembly," +
        " and where two codes are equally likely it may take the other",
    );
  }
}

/**
 * Say whether the transformers run on WebGPU: where there is an adapter that is no software, and
 * where the address does not say.
 */
async function graphics() {
  const asked = askedOn();
  const adapter = await /** @type {any} */ (navigator).gpu?.requestAdapter();
  if (!adapter) return { name: "", use: false };
  const { vendor, architecture, isFallbackAdapter } = adapter.info;
  const software = isFallbackAdapter ?? adapter.isFallbackAdapter ?? false;
  const name = [vendor, architecture].filter(Boolean).join(" ") || "an adapter without a name";
  return { name: software ? `${name}, in software` : name, use: asked ? asked === "webgpu" : !software };
}

/** @param {Clip} found */
async function take(found) {
  clip = found;
  listening.stop();
  at("result").hidden = true;
  const { channels, rate, name, note } = clip;
  const seconds = (channels[0].length / rate).toFixed(2);
  at("about").textContent =
    `${name}: ${seconds} s, ${rate} Hz, ${channels.length === 1 ? "mono" : `${channels.length} channels`}. ${note}`;
  at("picture").hidden = false;
  drawSpectrogram(at("spectrogram"), clip);
  await showMask();
  at("go").toggleAttribute("disabled", false);
}

/** Show what is kept of the clip under the options. */
async function showMask() {
  if (!clip || working) return;
  const { sampleRate, hopLength } = player.codec;
  const frames = Math.ceil((clip.channels[0].length * sampleRate) / clip.rate / hopLength);
  const mask = await player.mask(frames, read());
  drawSpectrogram(at("spectrogram"), clip, mask);
  drawMask(at("codes"), mask);
  const share = mask.data.reduce((sum, value) => sum + value, 0) / mask.data.length;
  at("share").textContent = `${Math.round(100 * share)} % is made anew.`;
}

async function takeExample() {
  const answer = await fetch("/example");
  if (!answer.ok) throw new Error(`the example cannot be fetched (HTTP ${answer.status})`);
  await take(await readClip(await answer.blob(), "example", player.codec.sampleRate));
}

/** Make a variation. */
async function make() {
  if (!clip || working) return;
  const options = read();
  working = new AbortController();
  at("stop").hidden = false;
  at("progress").hidden = false;
  at("go").toggleAttribute("disabled", true);
  listening.stop();
  try {
    const begun = performance.now();
    const made = await player.vary(clip.channels, clip.rate, {
      ...options,
      signal: working.signal,
      progress: (name, done, total) => {
        at("doing").textContent = `${name}: ${done} of ${total}`;
        const bar = /** @type {HTMLProgressElement} */ (at("progress"));
        bar.max = total;
        bar.value = done;
      },
    });
    const seconds = (performance.now() - begun) / 1000;
    show(made, seconds);
  } finally {
    working = undefined;
    at("stop").hidden = true;
    at("progress").hidden = true;
    at("go").toggleAttribute("disabled", false);
  }
}

/**
 * @param {import("../src/index.js").Variation} made
 * @param {number} seconds
 */
function show(made, seconds) {
  if (!clip) return;
  const file = new Blob([writeWav(made.audio[0], made.sampleRate)], { type: "audio/wav" });
  const download = /** @type {HTMLAnchorElement} */ (at("download"));
  URL.revokeObjectURL(download.href);
  download.href = URL.createObjectURL(file);
  download.download = `variation-${made.seed}.wav`;
  listening.load(clip, { channels: made.audio[0], rate: made.sampleRate });
  drawMask(at("codes"), made.mask);
  at("result").hidden = false;
  at("doing").textContent = `Made in ${seconds.toFixed(1)} s.`;
  at("made").textContent = `Seed ${made.seed}, ${made.sampleRate} Hz. The address of this page makes it again.`;
  const address = new URLSearchParams(Object.entries(read()).map(([name, value]) => [name, String(value)]));
  address.set("version", player.sha256);
  if (clip.name === "example") address.set("clip", "example");
  const on = player.webgpu ? "?on=webgpu" : "?on=wasm"; // sums of another order: a tie may fall the other way
  history.replaceState(null, "", `${on}#${address}`);
  // For whoever looks closer in the console.
  Object.assign(globalThis, { made });
}

at("file").addEventListener("change", () =>
  tried(async () => {
    const [file] = /** @type {HTMLInputElement} */ (at("file")).files ?? [];
    if (file) await take(await readClip(file, file.name, player.codec.sampleRate));
  }),
);
const drop = at("drop");
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const file = event.dataTransfer?.files[0];
  if (file) tried(async () => take(await readClip(file, file.name, player.codec.sampleRate)));
});
const recording = recorder();
at("record").addEventListener("click", () =>
  tried(async () => {
    const blob = await recording.toggle();
    at("record").setAttribute("aria-pressed", String(!blob));
    at("record").textContent = blob ? "Record" : "Stop recording";
    if (blob) await take(await readClip(blob, "recording", player.codec.sampleRate));
  }),
);
at("example").addEventListener("click", () => tried(takeExample));
at("options").addEventListener("submit", (event) => {
  event.preventDefault();
  tried(make);
});
at("stop").addEventListener("click", () => working?.abort());
at("reset").addEventListener("click", () => {
  write(new URLSearchParams());
  tried(showMask);
});
for (const choice of document.querySelectorAll('input[name="heard"]')) {
  choice.addEventListener("change", () => listening.hear(/** @type {HTMLInputElement} */ (choice).value));
}
at("play").addEventListener("click", () => listening.toggle());
at("link").addEventListener("click", () =>
  tried(async () => {
    await navigator.clipboard.writeText(location.href);
    at("made").textContent = "The link is copied.";
  }),
);
addEventListener("resize", () => tried(showMask));
tried(begin).then(() => {
  document.body.dataset.ready = String(Boolean(player));
});
