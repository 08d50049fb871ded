"""`eventrunner consumer keygen`, `sign` and `verify`: signatures of modules, without a platform but for `--tenant`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from eventrunner.cli.calls import all_pages, as_json, run, show
from eventrunner.errors import InvalidInput
from eventrunner.wasm.signing import PublicKey, SecretKey, sign, sign_detached, verify

__all__ = ["SECRET_KEY", "SIGNATURE_COMMANDS", "PublicKeyFile", "signed_code"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)


class _SecretKeyFile(click.ParamType[SecretKey]):
    name = "FILE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> SecretKey:
        if isinstance(value, SecretKey):
            return value
        try:
            return SecretKey.from_file(Path(str(value)))
        except (OSError, InvalidInput) as error:
            self.fail(f"{value}: {error}", param, ctx)


class PublicKeyFile(click.ParamType[PublicKey]):
    name = "FILE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> PublicKey:
        if isinstance(value, PublicKey):
            return value
        try:
            return PublicKey.from_file(Path(str(value)))
        except (OSError, InvalidInput) as error:
            self.fail(f"{value}: {error}", param, ctx)


SECRET_KEY = _SecretKeyFile()


def signed_code(file: Path, key: SecretKey) -> bytes:
    """Raises UsageError for what cannot be signed."""
    try:
        return sign(file.read_bytes(), key)
    except InvalidInput as error:
        raise click.UsageError(f"{file}: {error.detail}") from error


@click.command("keygen")
@click.option("--secret", type=_NEW_FILE, default=Path("consumer-secret.key"), show_default=True, help="New file.")
@click.option("--public", type=_NEW_FILE, default=Path("consumer-public.key"), show_default=True, help="New file.")
@as_json
def keygen(secret: Path, public: Path, as_json: bool) -> None:
    """Make a key pair for signing modules, in files as `wasmsign2` has them. The secret one is for you alone."""
    key = SecretKey.generate()
    for file in (secret, public):
        if file.exists():
            raise click.UsageError(f"{file} is there already: name another file, or remove it.")
    try:
        key.to_file(secret)
        public.write_bytes(key.public.to_bytes())
    except OSError as error:
        raise click.UsageError(f"The key cannot be written: {error}.") from error
    made = {"id": key.public.id, "public_key": key.public.to_text(), "secret": str(secret), "public": str(public)}
    show(made, as_json, f"{key.public.id}: {secret} signs, and {public} is to be registered")


@click.command("sign")
@click.argument("file", type=_FILE)
@click.option("--key", "key", type=SECRET_KEY, required=True, help="The secret key.")
@click.option("-o", "--output", type=_NEW_FILE, help="Where to.  [default: FILE with .signed.wasm at its end]")
@click.option("--detached", is_flag=True, help="The signature alone, to FILE with .sig at its end.")
@as_json
def sign_(file: Path, key: SecretKey, output: Path | None, detached: bool, as_json: bool) -> None:
    """Sign FILE, a WebAssembly component or module. Signatures of other keys that it has stay in it."""
    target = output or file.with_suffix(".sig" if detached else ".signed.wasm")
    try:
        made = sign_detached(file.read_bytes(), key) if detached else signed_code(file, key)
        target.write_bytes(made)
    except InvalidInput as error:
        raise click.UsageError(f"{file}: {error.detail}") from error
    except OSError as error:
        raise click.UsageError(f"{target} cannot be written: {error}.") from error
    done = {"file": str(target), "signed_by": key.public.id}
    show(done, as_json, f"{target} is {'a signature' if detached else 'signed'} by the key {key.public.id}")


@click.command("verify")
@click.argument("file", type=_FILE)
@click.option("--key", "keys", type=PublicKeyFile(), multiple=True, help="A public key. Repeatable.")
@click.option("--tenant", help="By the keys that the tenant has registered.")
@click.option("--signature", type=_FILE, help="A detached signature.")
@as_json
def verify_(file: Path, keys: tuple[PublicKey, ...], tenant: str | None, signature: Path | None, as_json: bool) -> None:
    """Check that all of FILE is signed by one of the keys; exit 1 and say why if it is not."""
    if not keys and tenant is None:
        raise click.UsageError("Give the keys with --key FILE or --tenant TENANT.")
    detached = None if signature is None else signature.read_bytes()
    key = verify(file.read_bytes(), [*keys, *([] if tenant is None else _registered(tenant))], detached)
    show({"file": str(file), "signed_by": key.id}, as_json, f"{file} is signed, as a whole, by the key {key.id}")


def _registered(tenant: str) -> Sequence[PublicKey]:
    found = run(lambda api: all_pages(api, "signing-keys", tenant, member="signing_keys"))["signing_keys"]
    return [PublicKey.parse(item["public_key"].encode()) for item in found]


SIGNATURE_COMMANDS = (keygen, sign_, verify_)
