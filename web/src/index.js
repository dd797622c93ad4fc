/**
 * Artifacts of vampnet-onnx in browsers and Node: the tokens and the audio that the Python command
 * makes of the same clip, seed and options.
 *
 *     import * as ort from "onnxruntime-web";
 *     import { open } from "vampnet-onnx";
 *     const player = await open("https://example.org/artifacts/demo/v1", ort);
 *     const made = await player.vary(samples, 44100, { seed: 7, periodic_prompt: 13 });
 */
import { codeAt, codesBy, codesOf, framesOf, joinedFrames } from "./codes.js";
import { InputError } from "./errors.js";
import { loudnessOf } from "./loudness.js";
import { MaskNoise } from "./philox.js";
import { Sessions } from "./sessions.js";
import { readOptions } from "./settings.js";
import { framesIn, heard, vamp } from "./variation.js";
import { openVersion } from "./version.js";
import { windowsOf } from "./windows.js";

export { InputError };

/**
 * @typedef {import("./codes.js").Codes} Codes
 * @typedef {import("./settings.js").Options} Options
 * @typedef {import("./settings.js").Settings} Settings
 * @typedef {import("./variation.js").Progress} Progress told what is at work, steps done and in all
 * @typedef {Float32Array | Float32Array[]} Samples in [-1, 1], of one channel or of each
 *
 * @typedef {object} Run
 * @property {Progress} [progress]
 * @property {AbortSignal} [signal] stops the work between two steps
 *
 * @typedef {object} Variation
 * @property {Float32Array[][]} audio of each variation and channel
 * @property {number} sampleRate of the audio, Hz
 * @property {Codes} codes of the clip, [channels, codebooks, frames]
 * @property {Codes} mask that was used for every channel, [1, codebooks, frames]
 * @property {Codes[]} tokens of each variation, [channels, codebooks, frames]
 * @property {string} seed in digits
 */

/**
 * Open a version.
 * @param {string | URL} where an address, or in Node a folder, that holds a manifest.json
 * @param {import("./sessions.js").Ort} ort onnxruntime-web or onnxruntime-node
 * @param {{signal?: AbortSignal, sessionOptions?: import("./sessions.js").SessionOptions,
 *   generatorOptions?: import("./sessions.js").SessionOptions}} [more]
 *   options of all sessions, and in place of them those of the generators, such as WebGPU
 * @throws {InputError} there is no version, or one of another schema
 */
export async function open(where, ort, { signal, sessionOptions = {}, generatorOptions = sessionOptions } = {}) {
  return new Player(await openVersion(where, signal), ort, sessionOptions, generatorOptions);
}

/** A version that is open; its components are loaded when they are first needed. */
export class Player {
  #version;
  #sessions;

  /**
   * @param {import("./version.js").Version} version
   * @param {import("./sessions.js").Ort} ort
   * @param {import("./sessions.js").SessionOptions} sessionOptions
   * @param {import("./sessions.js").SessionOptions} generatorOptions
   */
  constructor(version, ort, sessionOptions, generatorOptions) {
    this.#version = version;
    this.#sessions = new Sessions(version, ort, sessionOptions, generatorOptions);
    const { codebookSize, codebooks } = version.codec;
    for (const id of ["coarse.generator", "c2f.generator"].filter((id) => version.ids.includes(id))) {
      const part = version.component(id);
      const [entries, books] = ["vocab_size", "n_codebooks"].map((name) => version.dim(part, name));
      if (entries !== codebookSize || books > codebooks) {
        throw new InputError(
          `${version.where}: ${id} works on ${books} codebooks of ${entries} entries, the codec has` +
            ` ${codebooks} of ${codebookSize}: they are not of one set; export them together`,
        );
      }
    }
  }

  /** What the codec's parts have in common. */
  get codec() {
    return this.#version.codec;
  }

  /** Name of the model. */
  get model() {
    return this.#version.manifest.model;
  }

  /** SHA-256 of the manifest, which names the version. */
  get sha256() {
    return this.#version.sha256;
  }

  /** Rates in Hz that audio may come at. */
  get rates() {
    return this.#version.rates;
  }

  /** What a generation of coarse takes where nobody chooses, by the names of its inputs. */
  get generationDefaults() {
    return { ...this.#version.component("coarse.generator").defaults };
  }

  /**
   * Make variations of a clip.
   * @param {Samples} samples
   * @param {number} rate Hz
   * @param {Options & Run} [options]
   * @returns {Promise<Variation>}
   * @throws {InputError} audio, options or artifacts do not fit
   */
  async vary(samples, rate, { progress = () => {}, signal, ...options } = {}) {
    const settings = readOptions(options);
    const clip = this.#clip(samples, rate);
    const work = { version: this.#version, sessions: this.#sessions, progress, signal };
    const generators = ["coarse.generator", ...(settings.coarseOnly ? [] : ["c2f.generator"])];
    await this.#load(
      [this.#processor(rate), "codec_encoder", "mask_generator", ...generators, "codec_decoder"],
      work,
    );
    const prepared = await this.#prepare(clip, rate, settings.keepStereo, work);
    const codes = await this.#encoded(prepared.audio, work);
    const mask = await this.#mask(codes.dims, settings, work);
    /** @type {Codes[]} */
    const made = [];
    for (let channel = 0; channel < codes.dims[0]; channel += 1) {
      const own = codesBy([1, codes.dims[1], codes.dims[2]], (_, ...at) => codeAt(codes, channel, ...at));
      made.push(await vamp(own, mask, settings, work));
    }
    const tokens = Array.from({ length: settings.vamp.batch_size }, (_, variation) =>
      codesBy([made.length, made[0].dims[1], made[0].dims[2]], (channel, ...at) =>
        codeAt(made[channel], variation, ...at),
      ),
    );
    const heardAs = given(clip, settings.keepStereo).map((channel) => loudnessOf(channel, rate));
    const audio = [];
    for (const piece of tokens) {
      const decoded = await this.#decoded(piece, work);
      audio.push(this.#levelled(decoded, prepared, heardAs, settings));
    }
    return {
      audio,
      sampleRate: this.codec.sampleRate,
      codes,
      mask,
      tokens,
      seed: String(settings.seed),
    };
  }

  /**
   * Encode a clip.
   * @param {Samples} samples
   * @param {number} rate Hz
   * @param {{keep_stereo?: boolean} & Run} [options]
   * @returns {Promise<Codes>} [channels, codebooks, frames], one channel unless stereo is kept
   */
  async encode(samples, rate, { keep_stereo: keepStereo = false, progress = () => {}, signal } = {}) {
    const clip = this.#clip(samples, rate);
    const work = { version: this.#version, sessions: this.#sessions, progress, signal };
    await this.#load([this.#processor(rate), "codec_encoder"], work);
    return this.#encoded((await this.#prepare(clip, rate, keepStereo, work)).audio, work);
  }

  /**
   * Decode codes, at the level that the codec gives.
   * @param {Codes} codes [channels, 1 to all codebooks, frames]; the mask token reads as code 0
   * @param {Run} [options]
   * @returns {Promise<Float32Array[]>} of each channel, at the codec's rate
   */
  async decode(codes, { progress = () => {}, signal } = {}) {
    const work = { version: this.#version, sessions: this.#sessions, progress, signal };
    await this.#load(["codec_decoder"], work);
    return this.#decoded(codes, work);
  }

  /**
   * Build the mask that a variation of so many frames gets: what is 1 is made anew.
   * @param {number} frames
   * @param {Options} [options]
   * @param {Run} [run]
   * @returns {Promise<Codes>} [1, codebooks, frames]
   */
  async mask(frames, options = {}, { progress = () => {}, signal } = {}) {
    const work = { version: this.#version, sessions: this.#sessions, progress, signal };
    return this.#mask([1, this.codec.codebooks, frames], readOptions(options), work);
  }

  /** Let all sessions go. */
  async close() {
    await this.#sessions.close();
  }

  /** @param {number} rate */
  #processor(rate) {
    return rate === this.codec.sampleRate ? "audio_processor" : `audio_processor.from_${rate}`;
  }

  /**
   * Look at a clip, before any work is spent on it.
   * @param {Samples} samples
   * @param {number} rate
   */
  #clip(samples, rate) {
    const clip = Array.isArray(samples) ? samples : [samples];
    const { sampleRate, hopLength } = this.codec;
    if (!clip.length || !clip.every((channel) => channel instanceof Float32Array)) {
      throw new InputError("samples are a Float32Array, or one of each channel");
    }
    if (!this.rates.includes(rate)) {
      throw new InputError(
        `the audio comes at ${rate} Hz, and these artifacts take ${this.rates.join(", ")} Hz;` +
          " resample it first",
      );
    }
    if (clip.length > 2) {
      throw new InputError(
        `the audio has ${clip.length} channels; mono and stereo are supported, mix it down first`,
      );
    }
    if (clip.some((channel) => channel.length !== clip[0].length)) {
      throw new InputError("the channels of the audio are not equally long");
    }
    if (clip[0].length * sampleRate < hopLength * rate) {
      throw new InputError(
        `the audio has ${clip[0].length} samples; the codec needs one frame at least,` +
          ` ${Math.ceil((hopLength * rate) / sampleRate)} samples`,
      );
    }
    if (clip.some((channel) => !channel.every(Number.isFinite))) {
      throw new InputError("the audio holds NaN or infinite samples; repair the file first");
    }
    if (clip.every((channel) => channel.every((value) => value === 0))) {
      throw new InputError("the audio is silent, every sample is 0; nothing to vary");
    }
    return clip;
  }

  /**
   * Open components, so that a lack shows before the work.
   * @param {string[]} ids
   * @param {import("./variation.js").Work} work
   */
  async #load(ids, { progress, signal }) {
    ids.forEach((id) => this.#version.component(id));
    for (const [i, id] of ids.entries()) {
      progress("opening", i, ids.length);
      await heard(signal);
      await this.#sessions.open(id, signal);
    }
    progress("opening", ids.length, ids.length);
  }

  /**
   * Bring audio to the codec's rate, to mono, -24 LUFS and whole frames.
   * @param {Float32Array[]} clip
   * @param {number} rate
   * @param {boolean} keepStereo
   * @param {import("./variation.js").Work} work
   */
  async #prepare(clip, rate, keepStereo, { sessions, signal }) {
    const samples = clip[0].length;
    const data = new Float32Array(clip.length * samples);
    clip.forEach((channel, i) => data.set(channel, i * samples));
    const dims = keepStereo ? [clip.length, 1, samples] : [1, clip.length, samples];
    const made = await sessions.run(
      this.#processor(rate),
      { audio: { data, dims } },
      ["prepared", "loudness"],
      signal,
    );
    const audio = rowsOf(/** @type {Float32Array} */ (made.prepared.data), made.prepared.dims[0]);
    const loudness = Array.from(made.loudness.data, Number);
    const balance = loudness.map((level) => factor(level - Math.max(...loudness)));
    return { audio, balance };
  }

  /**
   * Encode prepared channels a window at a time.
   * @param {Float32Array[]} audio
   * @param {import("./variation.js").Work} work
   */
  async #encoded(audio, { sessions, progress, signal }) {
    const hop = this.codec.hopLength;
    const frames = audio[0].length / hop;
    const windows = windowsOf(frames, Number(this.#version.fact("codec_encoder", "context_frames")));
    const pieces = [];
    for (const [i, { from, start, stop, to }] of windows.entries()) {
      progress("encoding", i, windows.length);
      await heard(signal);
      const data = new Float32Array(audio.length * (to - from) * hop);
      audio.forEach((channel, at) =>
        data.set(channel.subarray(from * hop, to * hop), at * (to - from) * hop),
      );
      const made = await sessions.run(
        "codec_encoder",
        { audio: { data, dims: [audio.length, 1, (to - from) * hop] } },
        ["codes", "latents"],
        signal,
      );
      requireFinite(made.latents, "codec_encoder");
      pieces.push(framesOf(codesOf(made.codes), start - from, stop - from));
    }
    progress("encoding", windows.length, windows.length);
    return joinedFrames(pieces);
  }

  /**
   * Compose the published mask: what is 1 is generated anew.
   * @param {Codes["dims"]} dims
   * @param {Settings} settings
   * @param {import("./variation.js").Work} work
   */
  async #mask([, books, frames], { mask, seed }, { sessions, signal }) {
    const { prefix_s, suffix_s, dropout, periodic_prompt: period, ...options } = mask;
    const [prefix, suffix] = [prefix_s, suffix_s].map((seconds) => framesIn(this.codec, seconds));
    if (prefix + suffix > frames) {
      throw new InputError(
        `prefix_s = ${prefix_s} and suffix_s = ${suffix_s} are longer than the clip, which lasts` +
          ` ${((frames * this.codec.hopLength) / this.codec.sampleRate).toFixed(2)} s; make them shorter`,
      );
    }
    const noise = new MaskNoise(seed);
    const uniform = noise.uniform(books * frames);
    const roll = period ? noise.integers(period, 1)[0] : 0;
    const dropped = noise.integers(frames, Math.trunc(frames * dropout));
    const none = new Int32Array(0);
    const made = await sessions.run(
      "mask_generator",
      {
        ...options,
        dropout,
        periodic_prompt: period,
        prefix_frames: prefix,
        suffix_frames: suffix,
        codes: codesBy([1, books, frames], () => 0),
        rand_mask_cosine: false,
        roll,
        onset_frames: { data: none, dims: [0] },
        beat_frames: { data: none, dims: [0] },
        beat_before: 0,
        beat_after: 0,
        beat_dropout: 0,
        beat_invert: true,
        beat_uniform: { data: new Float32Array(0), dims: [0, 0] },
        combine_or: false,
        time_stretch_factor: 1, // stretching belongs to vamping, after the batch is made
        uniform: { data: uniform, dims: [1, books, frames] },
        dropped_frames: { data: dropped, dims: [dropped.length] },
      },
      ["mask"],
      signal,
    );
    return codesOf(made.mask);
  }

  /**
   * Decode codes a window at a time, as the published `Interface.decode` does: mask tokens become
   * code 0, and codes whose row points the same way as an earlier one become that one.
   * @param {Codes} codes
   * @param {import("./variation.js").Work} work
   */
  async #decoded(codes, { sessions, progress, signal }) {
    const { codebooks, codebookSize, hopLength: hop } = this.codec;
    const [channels, books, frames] = codes.dims;
    if (books < 1 || books > codebooks || codes.data.some((code) => code < 0 || code > codebookSize)) {
      throw new InputError(
        `codes must be of 1 to ${codebooks} codebooks, from 0 to ${codebookSize}, the mask token;` +
          " were they made with these artifacts?",
      );
    }
    const replaced = new Map();
    const rows = /** @type {number[][]} */ (this.#version.fact("codec_decoder", "requantised"));
    for (const [book, code, other] of rows) replaced.set(book * codebookSize + code, other);
    const known = codesBy(codes.dims, (item, book, frame) => {
      const code = codeAt(codes, item, book, frame) % codebookSize; // the mask token reads as 0
      return replaced.get(book * codebookSize + code) ?? code;
    });
    const audio = Array.from({ length: channels }, () => new Float32Array(frames * hop));
    const windows = windowsOf(frames, Number(this.#version.fact("codec_decoder", "context_frames")));
    for (const [i, { from, start, stop, to }] of windows.entries()) {
      progress("decoding", i, windows.length);
      await heard(signal);
      const given = { codes: framesOf(known, from, to) };
      const made = (await sessions.run("codec_decoder", given, ["audio"], signal)).audio;
      requireFinite(made, "codec_decoder");
      rowsOf(/** @type {Float32Array} */ (made.data), channels).forEach((row, channel) =>
        audio[channel].set(row.subarray((start - from) * hop, (stop - from) * hop), start * hop),
      );
    }
    progress("decoding", windows.length, windows.length);
    return audio;
  }

  /**
   * Bring decoded channels to their level; see `pipeline/steps/output.py`.
   * @param {Float32Array[]} decoded
   * @param {{audio: Float32Array[], balance: number[]}} prepared
   * @param {number[]} loudness of each channel of the input, LUFS
   * @param {Settings} settings
   */
  #levelled(decoded, prepared, loudness, { outputLoudness, mix }) {
    const rate = this.codec.sampleRate;
    const ofCodec = outputLoudness === "codec";
    const mixed = decoded.map((wet, channel) => {
      if (mix === 1) return wet;
      const dry = prepared.audio[channel];
      const gain = ofCodec ? 1 : factor(loudnessOf(dry, rate) - loudnessOf(wet, rate));
      return wet.map((value, at) => mix * gain * value + (1 - mix) * dry[at]);
    });
    const shift = typeof outputLoudness === "number" ? outputLoudness - Math.max(...loudness) : 0;
    const gains = ofCodec
      ? prepared.balance
      : mixed.map((audio, i) => factor(loudness[i] + shift - loudnessOf(audio, rate)));
    const peak = Math.max(1, ...mixed.map((audio, i) => gains[i] * peakOf(audio)));
    return mixed.map((audio, i) =>
      audio.map((value) => Math.min(1, Math.max(-1, (value * gains[i]) / peak))),
    );
  }
}

/**
 * Return the channels that are measured: each, or their mean.
 * @param {Float32Array[]} clip
 * @param {boolean} keepStereo
 */
function given(clip, keepStereo) {
  if (keepStereo || clip.length === 1) return clip;
  return [clip[0].map((_, at) => clip.reduce((sum, one) => sum + one[at], 0) / clip.length)];
}

/**
 * Cut an array into so many rows.
 * @param {Float32Array} data
 * @param {number} count
 */
function rowsOf(data, count) {
  const size = data.length / count;
  return Array.from({ length: count }, (_, row) => data.subarray(row * size, (row + 1) * size));
}

/** @param {number} decibels */
function factor(decibels) {
  return Math.fround(10 ** (decibels / 20));
}

/** @param {Float32Array} audio */
function peakOf(audio) {
  return audio.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/**
 * @param {import("./sessions.js").Values} values
 * @param {string} id
 */
function requireFinite({ data }, id) {
  if (!Array.prototype.every.call(data, Number.isFinite)) {
    throw new InputError(
      `${id}: computes values that are not finite, so nothing is made of it; verify the artifacts` +
        " (vampnet-onnx verify)",
    );
  }
}
