#!/bin/sh
# Run by the service openmetadata-secrets: generates the server's secrets once. The key pair signs tokens; the image's
# key pair is public, and its owner would be administrator.
set -eu
cd "$1"

[ -s password ] || openssl rand -hex 20 >password
[ -s fernet_key ] || openssl rand -base64 32 >fernet_key
if ! [ -s public_key.der ]; then
  openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 |
    openssl pkcs8 -topk8 -nocrypt -outform DER -out private_key.der
  openssl pkey -in private_key.der -inform DER -pubout -outform DER -out public_key.der
fi
chmod 0444 password fernet_key private_key.der public_key.der # the containers that mount them run as other users
