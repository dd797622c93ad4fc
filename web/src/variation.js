/**
 * Variations of codes by the generators: coarse in chunks, then coarse to fine, as
 * `pipeline/steps/variation.py` does it.  The place in the stream of noise is handed from chunk
 * to chunk, from feedback step to feedback step and on to the fine codes.
 */
import {
  booksOf,
  codeAt,
  codesBy,
  codesOf,
  framesOf,
  joinedBooks,
  joinedFrames,
  piecesOf,
} from "./codes.js";
import { InputError } from "./errors.js";

/**
 * @typedef {import("./codes.js").Codes} Codes
 * @typedef {import("./settings.js").Settings} Settings
 * @typedef {import("./version.js").Version} Version
 * @typedef {import("./sessions.js").Sessions} Sessions
 * @typedef {(name: string, done: number, total: number) => void} Progress
 * @typedef {object} Work what a run has with it
 * @property {Version} version
 * @property {Sessions} sessions
 * @property {Progress} progress
 * @property {AbortSignal} [signal]
 *
 * @typedef {{place: bigint}} Noise how many words of the stream are taken
 */

// What an output of a generator says of a step, and what a person can do.
const BAD = {
  bad_logits: () => "logits are not finite; verify the artifacts (vampnet-onnx verify)",
  bad_guidance: (/** @type {Options} */ o) =>
    `cfg_guidance = ${o.cfg_guidance} is too large for these logits, lower it`,
  bad_confidence: (/** @type {Options} */ o) =>
    `confidences are not numbers; temperature = ${o.temperature} is too small for these logits,` +
    ` raise it, or mask_temperature = ${o.mask_temperature} too large, lower it`,
};

/** @typedef {Record<string, number | boolean>} Options */

/**
 * Make variations of codes.
 * @param {Codes} codes [1, codebooks, T]
 * @param {Codes} mask [1, codebooks, T] of 0 and 1
 * @param {Settings} settings
 * @param {Work} work
 * @returns {Promise<Codes>} [batch, codebooks, T * stretch]
 */
export async function vamp(codes, mask, settings, work) {
  const { vamp: chosen } = settings;
  const batch = chosen.batch_size;
  const [books, stretch] = [codes.dims[1], chosen.time_stretch_factor];
  /** @type {Codes["dims"]} */
  const dims = [batch, books, codes.dims[2] * stretch];
  const given = codesBy(dims, (_, book, frame) => codeAt(codes, 0, book, Math.floor(frame / stretch)));
  const masked = codesBy(dims, (_, book, frame) =>
    frame % stretch ? 1 : codeAt(mask, 0, book, frame / stretch),
  );
  const noise = { place: 0n };
  const coarse = new Part("coarse", settings.generation, chosen.coarse_chunk_s, settings, noise, work);
  const made = await coarseVamp(coarse, given, masked, chosen);
  if (settings.coarseOnly) return made;
  const ofFine = { corrected: settings.corrected };
  const fine = new Part("c2f", ofFine, chosen.c2f_chunk_s, settings, noise, work);
  return coarseToFine(fine, made, masked);
}

/** A generator at work chunk by chunk. */
class Part {
  #name;
  #seed;
  #noise;
  #work;
  #done = 0;
  #total = 0;

  /**
   * @param {string} name of the transformer
   * @param {Options} options laid over those of the manifest
   * @param {number} seconds that are generated at a time
   * @param {Settings} settings
   * @param {Noise} noise
   * @param {Work} work
   */
  constructor(name, options, seconds, settings, noise, work) {
    const part = work.version.component(`${name}.generator`);
    this.#name = name;
    this.options = { ...part.defaults, ...options };
    this.books = work.version.dim(part, "n_codebooks");
    this.conditioning = work.version.dim(part, "n_conditioning_codebooks");
    this.chunk = framesIn(work.version.codec, seconds);
    this.#seed = settings.seed;
    this.#noise = noise;
    this.#work = work;
  }

  /**
   * Say how many chunks there will be in all.
   * @param {number} chunks
   */
  expect(chunks) {
    this.#total = chunks * Number(this.options.steps);
  }

  /**
   * Generate the masked codes.
   * @param {Codes} codes
   * @param {Codes} mask
   * @param {boolean} [reseed] restart the noise before every chunk
   */
  async generate(codes, mask, reseed = false) {
    const masks = piecesOf(mask, this.chunk);
    const made = [];
    for (const [i, piece] of piecesOf(codes, this.chunk).entries()) {
      if (reseed) this.#noise.place = 0n;
      made.push(await this.#generateChunk(piece, masks[i], ` in chunk ${i + 1} of ${masks.length}`));
    }
    return joinedFrames(made);
  }

  /**
   * A step at a time, so that a caller sees progress and may cancel.
   * @param {Codes} codes
   * @param {Codes} mask
   * @param {string} where
   */
  async #generateChunk(codes, mask, where) {
    const { sessions, progress, signal } = this.#work;
    let current = booksOf(codes, this.conditioning, this.books);
    let tokens = codes;
    for (let step = 0; step < Number(this.options.steps); step += 1) {
      await heard(signal);
      const made = await sessions.run(
        `${this.#name}.generator`,
        {
          ...this.options,
          codes,
          mask,
          current,
          first_step: step,
          step_count: 1,
          seed: this.#seed,
          start: this.#noise.place,
        },
        ["tokens", "next_codes", "end", ...Object.keys(BAD)],
        signal,
      );
      this.#noise.place = BigInt(made.end.data[0]);
      for (const [output, told] of Object.entries(BAD)) {
        if (Number(made[output].data[0]) >= 0) {
          throw new InputError(
            `${this.#name}: step ${step + 1} of ${this.options.steps}${where}, seed` +
              ` ${this.#seed}: ${told(this.options)}`,
          );
        }
      }
      current = codesOf(made.next_codes);
      tokens = codesOf(made.tokens);
      this.#done += 1;
      progress(this.#name, this.#done, this.#total);
    }
    return tokens;
  }
}

/**
 * Generate the masked coarse codes, each feedback step fed the result of the last.
 * @param {Part} part
 * @param {Codes} codes
 * @param {Codes} mask
 * @param {{feedback_steps: number, reseed: boolean}} chosen
 */
async function coarseVamp(part, codes, mask, { feedback_steps: rounds, reseed }) {
  // A chunk keeps its own edges, not those of the clip alone.
  const chunks = piecesOf(booksOf(mask, 0, part.books), part.chunk);
  const kept = joinedFrames(chunks.map(keptEdges));
  part.expect(rounds * chunks.length);
  let tokens = booksOf(codes, 0, part.books);
  for (let round = 0; round < rounds; round += 1) tokens = await part.generate(tokens, kept, reseed);
  return joinedBooks(tokens, booksOf(codes, part.books, codes.dims[1]));
}

/**
 * Generate the masked fine codes, given the coarse ones.  The last chunk is filled up with code 0
 * under mask 1; what is generated there is cut off.
 * @param {Part} part
 * @param {Codes} codes
 * @param {Codes} mask
 */
async function coarseToFine(part, codes, mask) {
  const [batch, books, frames] = codes.dims;
  const chunks = Math.ceil(frames / part.chunk);
  /** @type {Codes["dims"]} */
  const dims = [batch, books, chunks * part.chunk];
  const filled = codesBy(dims, (...at) => (at[2] < frames ? codeAt(codes, ...at) : 0));
  const masked = codesBy(dims, (...at) => {
    if (at[1] < part.conditioning) return 0;
    return at[2] < frames ? codeAt(mask, ...at) : 1;
  });
  part.expect(chunks);
  return framesOf(await part.generate(filled, masked), 0, frames);
}

/**
 * Keep the first and last time step of a mask that keeps anything.
 * @param {Codes} mask
 */
function keptEdges(mask) {
  if (mask.data.every((value) => value === 1)) return mask;
  const last = mask.dims[2] - 1;
  return codesBy(mask.dims, (...at) => (at[2] && at[2] < last ? codeAt(mask, ...at) : 0));
}

/**
 * Return the frames that hold so many seconds.
 * @param {import("./version.js").Codec} codec
 * @param {number} seconds
 */
export function framesIn(codec, seconds) {
  return Math.ceil((seconds * codec.sampleRate) / codec.hopLength);
}

/**
 * Let a Worker hear that it is to stop: a graph runs without a pause there.
 * @param {AbortSignal} [signal]
 */
export async function heard(signal) {
  await new Promise((resolve) => setTimeout(resolve));
  signal?.throwIfAborted();
}
