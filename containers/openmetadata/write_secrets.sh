#!/bin/sh
# Run by the service openmetadata-secrets: what nobody needs to know is generated, once, and kept. The key pair signs
# tokens; that in the image is the same everywhere, and whoever has it is administrator.
set -eu
cd "$1"

[ -s password ] || openssl rand -hex 20 >password
[ -s fernet_key ] || openssl rand -base64 32 >fernet_key
if ! [ -s public_key.der ]; then
  openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 |
    openssl pkcs8 -topk8 -nocrypt -outform DER -out private_key.der
  openssl pkey -in private_key.der -inform DER -pubout -outform DER -out public_key.der
fi
chmod 0444 password fernet_key private_key.der public_key.der # each container that mounts them has another user
