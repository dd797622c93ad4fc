/** A spectrogram with what is kept and what is made anew over it, and the mask by codebook. */

const WINDOW = 1024;
const FLOOR_DB = -70;
const LOWEST_HZ = 40;

/**
 * @typedef {import("../src/audio-file.js").Audio} Audio
 * @typedef {import("../src/codes.js").Codes} Codes
 */

/**
 * Draw the spectrogram of a clip, frequencies by octaves.
 * @param {HTMLCanvasElement} canvas
 * @param {Audio} clip
 * @param {Codes} [mask]
 */
export function drawSpectrogram(canvas, { channels, rate }, mask) {
  const { pen, width, height } = penOf(canvas);
  const colours = coloursOf(canvas);
  const audio = channels[0];
  const image = pen.createImageData(width, height);
  const bins = Array.from({ length: height }, (_, row) => {
    const hertz = LOWEST_HZ * (rate / 2 / LOWEST_HZ) ** (1 - (row + 0.5) / height);
    return Math.min(WINDOW / 2 - 1, (hertz / rate) * WINDOW);
  });
  for (let x = 0; x < width; x += 1) {
    const power = powerAt(audio, Math.round(((x + 0.5) / width) * audio.length));
    const share = mask ? maskedShare(mask, Math.floor((x / width) * mask.dims[2])) : 0;
    const colour = colours.kept.map((kept, i) => kept + share * (colours.made[i] - kept));
    bins.forEach((bin, row) => {
      const low = Math.floor(bin);
      const value = power[low] + (bin - low) * (power[low + 1] - power[low]);
      const level = Math.min(1, Math.max(0, 1 - value / FLOOR_DB));
      const at = 4 * (row * width + x);
      for (let i = 0; i < 3; i += 1) {
        // What is made anew shows where it is quiet, too.
        const ground = colours.ground[i] + 0.12 * (colour[i] - colours.ground[i]);
        image.data[at + i] = ground + level * (colour[i] - ground);
      }
      image.data[at + 3] = 255;
    });
  }
  pen.putImageData(image, 0, 0);
}

/**
 * Draw a mask: a row for each codebook, the first at the bottom.
 * @param {HTMLCanvasElement} canvas
 * @param {Codes} mask
 */
export function drawMask(canvas, { data, dims: [, books, frames] }) {
  const { pen, width, height } = penOf(canvas);
  const colours = ["kept", "made"].map((name) => styleOf(canvas, name));
  for (let book = 0; book < books; book += 1) {
    const top = Math.round(((books - 1 - book) / books) * height);
    const bottom = Math.round(((books - book) / books) * height) - 1;
    for (let x = 0; x < width; x += 1) {
      pen.fillStyle = colours[data[book * frames + Math.floor((x / width) * frames)]];
      pen.fillRect(x, top, 1, Math.max(1, bottom - top));
    }
  }
}

/**
 * @param {Codes} mask
 * @param {number} frame
 */
function maskedShare({ data, dims: [, books, frames] }, frame) {
  let sum = 0;
  for (let book = 0; book < books; book += 1) sum += data[book * frames + frame];
  return sum / books;
}

/**
 * Return the power of a window in decibels, by its bins.
 * @param {Float32Array} audio
 * @param {number} middle
 */
function powerAt(audio, middle) {
  const real = new Float64Array(WINDOW);
  const imaginary = new Float64Array(WINDOW);
  for (let i = 0; i < WINDOW; i += 1) {
    const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / WINDOW);
    real[i] = hann * (audio[middle - WINDOW / 2 + i] ?? 0);
  }
  transform(real, imaginary);
  return Float64Array.from({ length: WINDOW / 2 + 1 }, (_, bin) => {
    const size = (real[bin] ** 2 + imaginary[bin] ** 2) / (WINDOW / 4) ** 2;
    return Math.max(FLOOR_DB, 10 * Math.log10(size + 1e-12));
  });
}

/**
 * Transform in place (Cooley and Tukey).
 * @param {Float64Array} real
 * @param {Float64Array} imaginary
 */
function transform(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i += 1) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let k = 0; k < size / 2; k += 1) {
      const [c, s] = [Math.cos((-2 * Math.PI * k) / size), Math.sin((-2 * Math.PI * k) / size)];
      for (let i = k; i < n; i += size) {
        const j = i + size / 2;
        const [x, y] = [real[j] * c - imaginary[j] * s, real[j] * s + imaginary[j] * c];
        [real[j], imaginary[j]] = [real[i] - x, imaginary[i] - y];
        real[i] += x;
        imaginary[i] += y;
      }
    }
  }
}

/**
 * Size a canvas to its pixels.
 * @param {HTMLCanvasElement} canvas
 */
function penOf(canvas) {
  const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth)));
  const height = (canvas.height = Math.max(1, Math.round(canvas.clientHeight)));
  return { pen: /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")), width, height };
}

/** @param {HTMLElement} canvas */
function coloursOf(canvas) {
  const [kept, made, ground] = ["kept", "made", "ground"].map((name) =>
    (styleOf(canvas, name).match(/[\d.]+/g) ?? []).slice(0, 3).map(Number),
  );
  return { kept, made, ground };
}

/**
 * Return a colour of the page as the browser computes it.
 * @param {HTMLElement} canvas
 * @param {string} name
 */
function styleOf(canvas, name) {
  const probe = document.createElement("span");
  probe.style.color = { kept: "var(--accent)", made: "var(--made)", ground: "var(--panel)" }[name] ?? "";
  canvas.before(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
