/**
 * The published options, as `configs/vamp_defaults.toml` and `configs/presets.toml` have them; a
 * test holds the two together.  Those of a generation are not here: a generator's are in the
 * manifest.
 */
export const DEFAULTS = {
  "mask": {
    "rand_mask_intensity": 1.0,
    "prefix_s": 0.0,
    "suffix_s": 0.0,
    "periodic_prompt": 7,
    "periodic_prompt_width": 1,
    "onset_mask_width": 0,
    "dropout": 0.0,
    "upper_codebook_mask": 3,
    "n_conditioning_codebooks": 0
  },
  "vamp": {
    "batch_size": 1,
    "feedback_steps": 1,
    "time_stretch_factor": 1,
    "reseed": false,
    "coarse_chunk_s": 10.0,
    "c2f_chunk_s": 3.0
  }
};
