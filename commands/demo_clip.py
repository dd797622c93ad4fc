"""``vampnet-onnx demo-clip``: audio to try things with."""

from vampnet_onnx.configs.packaged import CLIP, DEMO_SET, packaged_set

from .options import AudioOut
from .output import print_files, told_on


def demo_clip(target: AudioOut) -> None:
    """Write the clip that comes with the demo checkpoints, six seconds of procedural music.

    Example:
      vampnet-onnx demo-clip clip.wav
    """
    from vampnet_onnx.pipeline.files.audio_files import open_audio, write_audio
    from vampnet_onnx.pipeline.files.standard import output_file, require_streams

    require_streams(target=target)
    clip = open_audio(packaged_set(DEMO_SET) / CLIP)
    with output_file(target, ".wav") as path:
        write_audio(path, clip.blocks(), clip.sample_rate)
    print_files([target], to=told_on(target))
