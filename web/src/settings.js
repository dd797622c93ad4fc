/** Options under the names of the published interface, laid over the published values. */
import { DEFAULTS } from "./defaults.js";
import { InputError } from "./errors.js";
import { readSeed } from "./philox.js";

const FLOAT32 = 3.4e38; // what graphs take the other numbers in
const COUNT = 2 ** 31 - 1; // steps, entries and the like

/**
 * @typedef {object} Options all may be left out
 * @property {number | bigint | string} [seed] of mask and tokens, 0 to 2**64 - 1; 0 if left out
 * @property {number} [rand_mask_intensity] probability that a code is masked at all
 * @property {number} [prefix_s] seconds kept at the start
 * @property {number} [suffix_s] seconds kept at the end
 * @property {number} [periodic_prompt] keep every so many time steps; 0 keeps none
 * @property {number} [periodic_prompt_width] time steps kept around each of them
 * @property {number} [onset_mask_width] 0: onsets are found by librosa, in Python
 * @property {number} [dropout] share of the time steps masked whatever kept them
 * @property {number} [upper_codebook_mask] codebooks from this one up are all masked
 * @property {number} [ncc] leading codebooks that are all kept
 * @property {number} [sampling_steps] of coarse
 * @property {number} [temperature] of the drawn tokens
 * @property {number} [mask_temperature] noise in the choice of what is masked again
 * @property {number} [sample_cutoff] share of the steps that draw; the rest take the best
 * @property {boolean} [typical_filtering] no effect in mode reference, as published
 * @property {number} [typical_mass]
 * @property {number} [typical_min_tokens]
 * @property {number} [top_k] draw from so many entries; needs mode corrected
 * @property {number} [top_p] draw from this share of probability
 * @property {number} [cfg_guidance] of guidance; as published it changes the noise alone
 * @property {"reference" | "corrected"} [mode] keep the published quirks, or mend them
 * @property {number} [batch_size] variations to make
 * @property {number} [feedback_steps] times coarse is fed its own result
 * @property {number} [time_stretch_factor] how many times longer the result is
 * @property {boolean} [reseed] begin the noise again in every coarse chunk and feedback step
 * @property {number} [coarse_chunk_size_s] seconds that coarse works on at a time
 * @property {number} [coarse2fine_chunk_size_s] seconds that coarse-to-fine works on at a time
 * @property {boolean} [coarse_only] keep the fine codes of the input
 * @property {boolean} [keep_stereo] vary each channel, under one mask
 * @property {"input" | "codec" | number} [output_loudness] as loud as the input came, what the
 *   codec gives, or LUFS; never beyond a peak of 1
 * @property {number} [mix] share of the variation; the rest is the input
 *
 * @typedef {object} Settings
 * @property {bigint} seed
 * @property {typeof DEFAULTS.mask} mask
 * @property {Record<string, number | boolean>} generation what was chosen of coarse, by the names of a generator's inputs
 * @property {boolean} corrected
 * @property {typeof DEFAULTS.vamp} vamp
 * @property {boolean} coarseOnly
 * @property {boolean} keepStereo
 * @property {"input" | "codec" | number} outputLoudness
 * @property {number} mix
 */

/** @typedef {[kind: "whole" | "real" | "bool", least?: number, most?: number, own?: string]} Rule */

/** @type {Record<string, Rule>} */
const MASK = {
  rand_mask_intensity: ["real", 0, 1],
  prefix_s: ["real", 0],
  suffix_s: ["real", 0],
  periodic_prompt: ["whole", 0],
  periodic_prompt_width: ["whole", 0],
  onset_mask_width: ["whole", 0],
  dropout: ["real", 0, 1],
  upper_codebook_mask: ["whole", 0],
  ncc: ["whole", 0, COUNT, "n_conditioning_codebooks"],
};
/** @type {Record<string, Rule>} */
const GENERATION = {
  sampling_steps: ["whole", 1, COUNT, "steps"],
  temperature: ["real", 0],
  mask_temperature: ["real", 0],
  sample_cutoff: ["real"],
  typical_filtering: ["bool"],
  typical_mass: ["real", 0, 1],
  typical_min_tokens: ["whole", 0],
  top_k: ["whole", 1],
  top_p: ["real", 0, 1],
  cfg_guidance: ["real"],
};
/** @type {Record<string, Rule>} */
const VAMP = {
  batch_size: ["whole", 1],
  feedback_steps: ["whole", 1],
  time_stretch_factor: ["whole", 1],
  reseed: ["bool"],
  coarse_chunk_size_s: ["real", Number.MIN_VALUE, FLOAT32, "coarse_chunk_s"],
  coarse2fine_chunk_size_s: ["real", Number.MIN_VALUE, FLOAT32, "c2f_chunk_s"],
};
const OTHERS = ["seed", "mode", "coarse_only", "keep_stereo", "output_loudness", "mix"];

/**
 * Read options.
 * @param {Options} options
 * @returns {Settings}
 * @throws {InputError} one is unknown or out of range
 */
export function readOptions(options) {
  /** @type {Record<string, any>} */
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined && value !== null),
  );
  const known = [...OTHERS, ...[MASK, GENERATION, VAMP].flatMap(Object.keys)];
  const strange = Object.keys(given).find((name) => !known.includes(name));
  if (strange) throw new InputError(`unknown option ${strange}; known: ${known.join(", ")}`);
  const { mode = "reference", output_loudness: outputLoudness = "input" } = given;
  if (mode !== "reference" && mode !== "corrected") {
    throw new InputError(`mode = ${mode} is neither reference nor corrected`);
  }
  const corrected = mode === "corrected";
  /** @type {Record<string, number | boolean>} */
  const generation = { ...chosen(GENERATION, given), corrected };
  if ("top_k" in generation && !corrected) {
    throw new InputError(
      `top_k = ${generation.top_k} has no effect in mode reference, as published; choose mode corrected`,
    );
  }
  if ("cfg_guidance" in generation) generation.guided = true;
  const ofLufs = typeof outputLoudness === "number" && outputLoudness >= -70 && outputLoudness <= 0;
  if (outputLoudness !== "input" && outputLoudness !== "codec" && !ofLufs) {
    throw new InputError(
      `output_loudness = ${outputLoudness} is neither input nor codec, nor -70 to 0 LUFS`,
    );
  }
  const { mix = 1, coarse_only = false, keep_stereo = false } = chosen(
    { mix: ["real", 0, 1], coarse_only: ["bool"], keep_stereo: ["bool"] },
    given,
  );
  const settings = {
    seed: readSeed(given.seed ?? 0),
    mask: { ...DEFAULTS.mask, ...chosen(MASK, given) },
    generation,
    corrected,
    vamp: { ...DEFAULTS.vamp, ...chosen(VAMP, given) },
    coarseOnly: Boolean(coarse_only),
    keepStereo: Boolean(keep_stereo),
    outputLoudness,
    mix: Number(mix),
  };
  if (settings.mask.onset_mask_width > 0) {
    throw new InputError(
      `onset_mask_width = ${settings.mask.onset_mask_width} needs onsets, which librosa finds in` +
        " Python; it is 0 here",
    );
  }
  if (settings.mix < 1 && settings.vamp.time_stretch_factor > 1) {
    throw new InputError(
      `mix = ${mix} mixes the input in, and time_stretch_factor =` +
        ` ${settings.vamp.time_stretch_factor} makes the output longer than that; leave one out`,
    );
  }
  return settings;
}

/**
 * Return those of a table that are given, checked, by our own names.
 * @param {Record<string, Rule>} table
 * @param {Record<string, unknown>} given
 */
function chosen(table, given) {
  /** @type {Record<string, number | boolean>} */
  const found = {};
  for (const [name, [kind, least = -Infinity, most = Infinity, own]] of Object.entries(table)) {
    if (!(name in given)) continue;
    const value = given[name];
    if (kind === "bool") {
      if (typeof value !== "boolean") throw new InputError(`${name} = ${value} is not true or false`);
    } else {
      const limit = kind === "whole" ? COUNT : FLOAT32;
      const [low, high] = [Math.max(least, -limit), Math.min(most, limit)];
      const fits = kind === "whole" ? Number.isInteger(value) : typeof value === "number";
      if (!fits || !(Number(value) >= low && Number(value) <= high)) {
        throw new InputError(
          `${name} = ${value} is not a ${kind === "whole" ? "whole " : ""}number from ${low} to ${high}`,
        );
      }
    }
    found[own ?? name] = /** @type {number | boolean} */ (value);
  }
  return found;
}
