/**
 * The noise of a seed, as `pipeline/steps/noise.py` defines it: Philox4x64-10 with the key
 * (seed, stream), every number made of one word.
 *
 * A word is two halves of 32 bits in doubles.  Of a product of halves, a * b, the low half is
 * exact, and so is the high one as the rest divided by 2**32 and rounded: the double a * b is
 * wrong by 2**10 at most.
 */
import { InputError } from "./errors.js";

const SEEDS = 1n << 64n;
const TWO_32 = 2 ** 32;
const ROUNDS = 10;
const WORDS = 4; // that a counter gives
const MASK = 1; // stream of the mask; that of the tokens, 0, is in the generators

/** @typedef {[high: number, low: number]} Word halves, each from 0 to 2**32 - 1 */

/** @type {[Word, Word]} */
const FACTORS = [
  [0xd2e7470e, 0xe14c6c93],
  [0xca5a8263, 0x95121157],
];
/** @type {[Word, Word]} */
const BUMPS = [
  [0x9e3779b9, 0x7f4a7c15],
  [0xbb67ae85, 0x84caa73b],
];

/**
 * Read a seed.
 * @param {number | bigint | string} seed 0 to 2**64 - 1; a number up to 2**53 - 1
 * @returns {bigint}
 * @throws {InputError} it is none
 */
export function readSeed(seed) {
  const text = String(seed).trim();
  const exact = typeof seed !== "number" || Number.isSafeInteger(seed);
  const value = /^\d{1,20}$/.test(text) && exact ? BigInt(text) : -1n;
  if (value < 0n || value >= SEEDS) {
    throw new InputError(
      `seed = ${text} is not a whole number from 0 to 2**64 - 1` +
        (exact ? "" : "; give one above 2**53 - 1 as a BigInt or as text"),
    );
  }
  return value;
}

/** The numbers of a mask. */
export class MaskNoise {
  /** @type {Word[]} */ #taken = [];
  #counter = 0;
  /** @type {[Word, Word]} */ #key;

  /** @param {bigint} seed */
  constructor(seed) {
    this.#key = [
      [Number(seed >> 32n), Number(seed & 0xffffffffn)],
      [0, MASK],
    ];
  }

  /**
   * Return uniform numbers in (0, 1).
   * @param {number} count
   * @returns {Float32Array}
   */
  uniform(count) {
    return Float32Array.from({ length: count }, () => (2 * (this.#high() >>> 9) + 1) * 2 ** -24);
  }

  /**
   * Return integers from 0 to `below` - 1.
   * @param {number} below 1 to 2**32 - 1
   * @param {number} count
   * @returns {Int32Array}
   */
  integers(below, count) {
    return Int32Array.from({ length: count }, () => multiplied(this.#high(), below)[0]);
  }

  /** Return the high half of the next word. */
  #high() {
    if (!this.#taken.length) {
      this.#counter += 1;
      this.#taken = block(this.#counter, this.#key).reverse();
    }
    return /** @type {Word} */ (this.#taken.pop())[0];
  }
}

/**
 * Return the words of a counter.
 * @param {number} counter below 2**53
 * @param {[Word, Word]} key
 * @returns {Word[]}
 */
function block(counter, key) {
  /** @type {Word[]} */
  let words = Array.from({ length: WORDS }, () => [0, 0]);
  words[0] = [Math.floor(counter / TWO_32), counter >>> 0];
  let [left, right] = key;
  for (let round = 0; round < ROUNDS; round += 1) {
    const [high, low] = product(FACTORS[0], words[0]);
    const [highOther, lowOther] = product(FACTORS[1], words[2]);
    words = [
      [xor(highOther[0], words[1][0], left[0]), xor(highOther[1], words[1][1], left[1])],
      lowOther,
      [xor(high[0], words[3][0], right[0]), xor(high[1], words[3][1], right[1])],
      low,
    ];
    left = sum(left, BUMPS[0]);
    right = sum(right, BUMPS[1]);
  }
  return words;
}

/**
 * Multiply two words to 128 bits.
 * @param {Word} one
 * @param {Word} other
 * @returns {[high: Word, low: Word]}
 */
function product(one, other) {
  const lows = multiplied(one[1], other[1]);
  const cross = multiplied(one[1], other[0]);
  const across = multiplied(one[0], other[1]);
  const highs = multiplied(one[0], other[0]);
  const middle = lows[0] + cross[1] + across[1];
  const upper = cross[0] + across[0] + highs[1] + Math.floor(middle / TWO_32);
  const top = highs[0] + Math.floor(upper / TWO_32);
  return [
    [top >>> 0, upper >>> 0],
    [middle >>> 0, lows[1]],
  ];
}

/**
 * Multiply two halves to a word.
 * @param {number} one
 * @param {number} other
 * @returns {Word}
 */
function multiplied(one, other) {
  const low = Math.imul(one, other) >>> 0;
  return [Math.round((one * other - low) / TWO_32), low];
}

/**
 * Add two words modulo 2**64.
 * @param {Word} one
 * @param {Word} other
 * @returns {Word}
 */
function sum(one, other) {
  const low = one[1] + other[1];
  return [(one[0] + other[0] + Math.floor(low / TWO_32)) >>> 0, low >>> 0];
}

/** @param {...number} halves */
function xor(...halves) {
  return halves.reduce((found, half) => found ^ half) >>> 0;
}
