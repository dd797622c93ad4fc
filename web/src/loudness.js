/**
 * Integrated loudness by ITU-R BS.1770-4, as `pipeline/steps/loudness.py` measures it: the two
 * filters as what they are, recursions, in float64.
 */

export const FLOOR = -70; // LUFS; also the absolute gate
const OFFSET = -0.691; // dB
const RELATIVE_GATE = -10; // LU
const SHORTEST_S = 0.5; // what is shorter is filled up with silence

/**
 * Measure one channel.
 * @param {Float32Array} audio
 * @param {number} sampleRate Hz
 * @returns {number} LUFS, at least -70, a float32
 */
export function loudnessOf(audio, sampleRate) {
  const length = Math.floor((2 * sampleRate) / 5);
  const stride = Math.floor(sampleRate / 10);
  const missing = Math.trunc((SHORTEST_S - audio.length / sampleRate) * sampleRate);
  const samples = audio.length + Math.max(0, missing);
  const energies = weightedEnergies(audio, samples, sampleRate);
  const count = Math.ceil(Math.max(samples - length, 0) / stride) + 1;
  const powers = Array.from({ length: count }, (_, block) => {
    let total = 0;
    const stop = Math.min(block * stride + length, samples);
    for (let at = block * stride; at < stop; at += 1) total += energies[at];
    return total / (0.4 * sampleRate);
  });
  const audible = powers.filter((power) => levelOf(power) > FLOOR);
  const threshold = levelOf(mean(audible)) + RELATIVE_GATE;
  const counted = audible.filter((power) => levelOf(power) > threshold);
  return Math.fround(Math.max(levelOf(mean(counted)), FLOOR));
}

/** @param {number} power */
function levelOf(power) {
  return OFFSET + 10 * Math.log10(power);
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);
}

/**
 * Return the square of every K-weighted sample.
 * @param {Float32Array} audio
 * @param {number} samples with the silence behind it
 * @param {number} sampleRate
 */
function weightedEnergies(audio, samples, sampleRate) {
  const signal = new Float64Array(samples);
  signal.set(audio);
  for (const [b, a] of weighting(sampleRate)) {
    let [first, second] = [0, 0];
    for (let at = 0; at < samples; at += 1) {
      const x = signal[at];
      const y = b[0] * x + first;
      first = b[1] * x - a[1] * y + second;
      second = b[2] * x - a[2] * y;
      signal[at] = y;
    }
  }
  return signal.map((value) => value * value);
}

/**
 * Return the high shelf and the high pass: b and a of each, rounded to float32 as the published
 * package holds them.
 * @param {number} sampleRate
 */
function weighting(sampleRate) {
  let { c, alpha } = angle(sampleRate, 1500, Math.SQRT1_2);
  const gain = 10 ** (4 / 40);
  const [more, less, root] = [gain + 1, gain - 1, 2 * Math.sqrt(gain) * alpha];
  const shelf = [
    [more + less * c + root, -2 * (less + more * c), more + less * c - root].map((v) => v * gain),
    [more - less * c + root, 2 * (less - more * c), more - less * c - root],
  ];
  ({ c, alpha } = angle(sampleRate, 38, 0.5));
  const highPass = [
    [(1 + c) / 2, -(1 + c), (1 + c) / 2],
    [1 + alpha, -2 * c, 1 - alpha],
  ];
  return [shelf, highPass].map((filter) =>
    filter.map((row) => row.map((value) => Math.fround(value / filter[1][0]))),
  );
}

/**
 * @param {number} sampleRate
 * @param {number} frequency Hz
 * @param {number} quality
 */
function angle(sampleRate, frequency, quality) {
  const turn = (2 * Math.PI * frequency) / sampleRate;
  return { c: Math.cos(turn), alpha: Math.sin(turn) / (2 * quality) };
}
