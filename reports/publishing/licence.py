"""The licence of weights: somebody has to say which it is, in a word that others know."""

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from vampnet_onnx.configs.errors import InputError, nearest
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.reports.card import Licence

_SHOWN = 60  # characters of what is refused


def read_licence(text: str) -> Licence:
    """Return the licence that an identifier of SPDX, or of the hub, names.

    Raises:
        InputError: it names none, or says only that there is another one.
    """
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    known: list[str] = shipped("licences.toml")["hub"]
    if text.lower() in known:
        return Licence(text.lower())
    try:
        name = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression as error:
        raise InputError(
            f"--licence {shown}: names no licence{nearest(text.lower(), known)}; write an"
            " identifier of SPDX (https://spdx.org/licenses), such as CC-BY-NC-4.0, or of the"
            " hub, such as openrail"
        ) from error
    if " " in name or name.endswith("+") or name.startswith("LicenseRef-"):
        raise InputError(
            f"--licence {shown}: is an expression or a reference of your own; write one"
            " identifier of SPDX or of the hub, and put what it does not say into a LICENSE"
            " file there"
        )
    return Licence("other", name, f"https://spdx.org/licenses/{name}.html")
