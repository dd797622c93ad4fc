/** The form: the published options with their defaults, as fields of a page. */
import { DEFAULTS } from "../src/defaults.js";

/**
 * @typedef {"whole" | "real" | "bool" | "seed" | string[]} Kind
 * @typedef {[name: string, title: string, help: string, kind: Kind, least?: number, most?: number]} Field
 */

/** @type {Record<string, Field[]>} */
const FIELDS = {
  "What is kept": [
    ["periodic_prompt", "Periodic prompt", "keep every so many time steps; 0 keeps none", "whole", 0],
    ["periodic_prompt_width", "Prompt width", "time steps around each", "whole", 0],
    ["upper_codebook_mask", "Compression prompt", "codebooks from this one up are made anew", "whole", 0],
    ["ncc", "Conditioning codebooks", "leading ones that are kept", "whole", 0],
    ["prefix_s", "Prefix", "seconds kept at the start", "real", 0],
    ["suffix_s", "Suffix", "seconds kept at the end", "real", 0],
    ["dropout", "Mask dropout", "share of time steps made anew whatever kept them", "real", 0, 1],
    ["rand_mask_intensity", "Intensity", "probability that a code is made anew", "real", 0, 1],
  ],
  "How it is made": [
    ["seed", "Seed", "0 to 2⁶⁴ − 1; the same seed makes the same music", "seed"],
    ["sampling_steps", "Steps", "of the coarse codes", "whole", 1],
    ["temperature", "Temperature", "of the drawn codes", "real", 0],
    ["mask_temperature", "Mask temperature", "noise in what is masked again", "real", 0],
    ["sample_cutoff", "Sample cutoff", "share of the steps that draw", "real"],
    ["top_p", "Top p", "draw from this share of probability; empty for all", "real", 0, 1],
    ["feedback_steps", "Feedback steps", "times coarse is fed its own result", "whole", 1],
    ["time_stretch_factor", "Time stretch", "how many times longer", "whole", 1],
    ["reseed", "Reseed", "begin the noise again in every chunk", "bool"],
    ["mode", "Mode", "keep the published quirks, or mend them", ["reference", "corrected"]],
  ],
  Output: [
    ["output_loudness", "Loudness", "as the input came, or as the codec gives it", ["input", "codec"]],
    ["mix", "Mix", "share of the variation; the rest is the clip", "real", 0, 1],
    ["keep_stereo", "Keep stereo", "vary each channel", "bool"],
    ["coarse_only", "Coarse only", "keep the fine codes of the clip", "bool"],
  ],
};
const ALL = Object.values(FIELDS).flat();
/** @type {Record<string, unknown>} */
let published = {};

/** @param {string} name */
const input = (name) => /** @type {HTMLInputElement} */ (document.getElementById(`option-${name}`));

/**
 * Build the fields.
 * @param {HTMLElement} place
 * @param {Record<string, unknown>} generation what a generator takes where nobody chooses
 */
export function build(place, generation) {
  published = {
    ...generation,
    ...DEFAULTS.mask,
    ...DEFAULTS.vamp,
    sampling_steps: generation.steps,
    ncc: DEFAULTS.mask.n_conditioning_codebooks,
    top_p: undefined, // all
    seed: 0,
    mode: "reference",
    output_loudness: "input",
    mix: 1,
  };
  for (const [title, fields] of Object.entries(FIELDS)) {
    const group = document.createElement("fieldset");
    group.append(element("legend", title), ...fields.map(rowOf));
    place.append(group);
  }
}

/** @param {Field} field */
function rowOf([name, title, help, kind, least, most]) {
  const row = element("div", "");
  row.className = "field";
  const label = /** @type {HTMLLabelElement} */ (element("label", title));
  const small = element("small", help);
  small.id = `help-${name}`;
  label.htmlFor = `option-${name}`;
  const words = element("div", "");
  words.append(label, small);
  const field = /** @type {HTMLInputElement} */ (
    document.createElement(Array.isArray(kind) ? "select" : "input")
  );
  if (Array.isArray(kind)) field.append(...kind.map((choice) => element("option", choice)));
  else if (kind === "bool") field.type = "checkbox";
  else if (kind === "seed") field.inputMode = "numeric";
  else {
    field.type = "number";
    field.step = kind === "whole" ? "1" : "any";
    if (least !== undefined) field.min = String(least);
    if (most !== undefined) field.max = String(most);
  }
  field.id = `option-${name}`;
  field.setAttribute("aria-describedby", small.id);
  row.append(words, field);
  return row;
}

/**
 * Fill in what an address says; what it does not say is published.
 * @param {URLSearchParams} asked
 */
export function write(asked) {
  for (const [name, , , kind] of ALL) {
    const value = asked.get(name) ?? published[name];
    if (kind === "bool") input(name).checked = String(value) === "true";
    else input(name).value = value === undefined ? "" : String(value);
  }
}

/**
 * Return the options; an empty field is as published.
 * @returns {import("../src/settings.js").Options}
 */
export function read() {
  /** @type {[string, unknown][]} */
  const found = ALL.map(([name, , , kind]) => {
    if (kind === "bool") return [name, input(name).checked];
    const text = input(name).value.trim();
    return [name, kind === "seed" || Array.isArray(kind) ? text || "0" : text === "" ? undefined : Number(text)];
  });
  return Object.fromEntries(found.filter(([, value]) => value !== undefined));
}

/**
 * @param {string} tag
 * @param {string} text
 */
function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
