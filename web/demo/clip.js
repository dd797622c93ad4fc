/** Clips from files and microphones, at their own rate. */
import { isWav, rateOfFlac, readWav } from "../src/audio-file.js";
import { InputError, said } from "../src/errors.js";

/**
 * Read a clip.  WAV is read as it is, FLAC by the browser at the file's own rate, and of what
 * else a browser knows nobody says the rate: it is resampled to the codec's, which is told.
 * @param {Blob} file
 * @param {string} name
 * @param {number} codecRate Hz
 */
export async function readClip(file, name, codecRate) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (isWav(bytes)) return { ...readWav(bytes), name, note: "" };
  const own = rateOfFlac(bytes);
  const rate = own || codecRate;
  try {
    const context = new OfflineAudioContext(1, 1, rate);
    const found = await context.decodeAudioData(bytes.buffer);
    const channels = Array.from({ length: found.numberOfChannels }, (_, i) => found.getChannelData(i));
    return { channels, rate, name, note: own ? "" : `The browser resampled it to ${rate} Hz.` };
  } catch (error) {
    throw new InputError(`${name}: cannot be read as audio (${said(error)}); WAV and FLAC always are`);
  }
}

/** Return what records: toggled on it gives nothing, toggled off the recording. */
export function recorder() {
  /** @type {MediaRecorder | undefined} */
  let running;
  return {
    /** @returns {Promise<Blob | undefined>} */
    async toggle() {
      if (!running) {
        let stream;
        try {
          // Music, not speech: nothing of it is to be taken away.
          const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
          stream = await navigator.mediaDevices.getUserMedia({ audio });
        } catch (error) {
          throw new InputError(`nothing can be recorded here (${said(error)}); choose a file instead`);
        }
        running = new MediaRecorder(stream);
        running.start();
        return undefined;
      }
      const stopped = running;
      running = undefined;
      const blob = new Promise((resolve) => {
        stopped.addEventListener("dataavailable", ({ data }) => resolve(data), { once: true });
      });
      stopped.stop();
      stopped.stream.getTracks().forEach((track) => track.stop());
      return /** @type {Promise<Blob>} */ (blob);
    },
  };
}
