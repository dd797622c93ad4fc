/** Two pieces of audio side by side: one place in time, and a switch between them. */

/** @typedef {import("../src/audio-file.js").Audio} Audio */

/** @param {HTMLElement} button that says what it does next */
export function abPlayer(button) {
  /** @type {AudioContext | undefined} */
  let context;
  /** @type {AudioBufferSourceNode[]} */
  let sources = [];
  /** @type {GainNode[]} */
  let gains = [];
  /** @type {Audio[]} */
  let pieces = [];
  let heard = "b";

  const levels = () => gains.forEach((gain, i) => (gain.gain.value = "ab"[i] === heard ? 1 : 0));
  const stop = () => {
    sources.forEach((source) => {
      source.onended = null;
      source.stop();
    });
    sources = [];
    button.textContent = "Play";
  };
  return {
    /** @param {Audio} a @param {Audio} b */
    load(a, b) {
      stop();
      pieces = [a, b];
    },
    /** @param {string} which */
    hear(which) {
      heard = which;
      levels();
    },
    stop,
    toggle() {
      if (sources.length) return stop();
      const playing = (context ??= new AudioContext());
      gains = pieces.map(() => playing.createGain());
      sources = pieces.map(({ channels, rate }, i) => {
        const buffer = playing.createBuffer(channels.length, channels[0].length, rate);
        channels.forEach((channel, at) => buffer.copyToChannel(new Float32Array(channel), at));
        const source = playing.createBufferSource();
        source.buffer = buffer;
        source.connect(gains[i]).connect(playing.destination);
        return source;
      });
      levels();
      sources.forEach((source) => source.start());
      const longest = pieces.map(({ channels, rate }) => channels[0].length / rate);
      sources[longest[0] > longest[1] ? 0 : 1].onended = stop;
      button.textContent = "Stop playing";
    },
  };
}
