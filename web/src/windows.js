/** Cutting a stretch of frames into windows, as `pipeline/steps/streaming.py` does. */

// Frames of a window to one of context, as `pipeline/steps/codec.py` has it: what overlaps is
// computed twice, and memory is that of one window.
const FRAMES_TO_CONTEXT = 18;

/**
 * @typedef {object} Window
 * @property {number} from first frame of what is computed
 * @property {number} start first frame that counts
 * @property {number} stop frame behind the last one that counts
 * @property {number} to frame behind the last one that is computed
 */

/**
 * Return the windows of so many frames.
 * @param {number} frames
 * @param {number} context frames that one depends on, on each side
 * @returns {Window[]}
 */
export function windowsOf(frames, context) {
  const size = Math.max(1, FRAMES_TO_CONTEXT * context);
  /** @type {Window[]} */
  const found = [];
  let at = 0;
  const cut = (/** @type {number} */ count) => {
    found.push({
      from: Math.max(0, at - context),
      start: at,
      stop: at + count,
      to: Math.min(frames, at + count + context),
    });
    at += count;
  };
  while (frames - at >= Math.max(5 * size, 2 * size + context)) {
    cut(size);
    cut(size);
  }
  const left = frames - at;
  const parts = left < 2 * size ? 1 : 2 * Math.floor((left + size) / (2 * size));
  for (let more = left ? parts : 0; more > 0; more -= 1) cut(Math.ceil((frames - at) / more));
  return found;
}
