<?php
// Signs a join token. Needs PHP 8 with the extensions sodium (EdDSA) and openssl (ES256), and no
// packages.
//
//   php token.php KEY_FILE AUDIENCE TENANT PRODUCT USER [ROOM]
//
// KEY_FILE decides the algorithm: a PEM file with an Ed25519 key (EdDSA) or a P-256 key (ES256),
// or a text file with a secret (HS256). The server must be set to the same algorithm.
// AUDIENCE is the server's `tokens.audience`, or its server id if that setting is left out.

declare(strict_types=1);

// A client needs a valid token when it joins. An expired token ends no session.
const VALID_S = 3600;
// The name of Ed25519 in a key file (RFC 8410).
const ED25519 = "\x06\x03\x2b\x65\x70";

function base64url(string $data): string
{
    return rtrim(strtr(base64_encode($data), '+/', '-_'), '=');
}

/** Returns the algorithm of a key file, and a function that signs with it. */
function read_key(string $file): array
{
    $text = file_get_contents($file);
    if ($text === false) {
        exit(1);
    }
    if (!str_starts_with($text, '-----BEGIN')) {
        // The line end of the file is not part of the secret.
        $secret = rtrim($text);
        return ['HS256', fn (string $data) => hash_hmac('sha256', $data, $secret, true)];
    }
    // OpenSSL in PHP before 8.4 does not sign with Ed25519, but sodium does. In the file, the
    // 32 bytes of the private key stand behind 16 bytes that say what key it is.
    $der = base64_decode(preg_replace('/-----[^-]*-----/', '', $text));
    if (substr($der, 7, 5) === ED25519) {
        $pair = sodium_crypto_sign_seed_keypair(substr($der, 16, 32));
        $key = sodium_crypto_sign_secretkey($pair);
        return ['EdDSA', fn (string $data) => sodium_crypto_sign_detached($data, $key)];
    }
    $key = openssl_pkey_get_private($text);
    if ($key && (openssl_pkey_get_details($key)['ec']['curve_name'] ?? '') === 'prime256v1') {
        return ['ES256', fn (string $data) => sign_es256($data, $key)];
    }
    fwrite(STDERR, "$file: an Ed25519 key, a P-256 key or a secret is expected\n");
    exit(1);
}

/** Signs with a P-256 key. A JWT has the two numbers of the signature side by side, 32 bytes each. */
function sign_es256(string $data, OpenSSLAsymmetricKey $key): string
{
    openssl_sign($data, $der, $key, OPENSSL_ALGO_SHA256);
    // OpenSSL writes DER: two bytes of head, then for each number a tag, its length, its bytes.
    $r = substr($der, 4, ord($der[3]));
    $s = substr($der, 4 + strlen($r) + 2);
    // DER adds a zero byte in front of some numbers, and leaves out other zero bytes.
    $fixed = fn (string $number) => str_pad(substr($number, -32), 32, "\0", STR_PAD_LEFT);
    return $fixed($r) . $fixed($s);
}

function sign_token(string $key_file, array $claims): string
{
    [$alg, $sign] = read_key($key_file);
    $json = fn (array $part) => json_encode($part, JSON_THROW_ON_ERROR);
    $signed = base64url($json(['alg' => $alg, 'typ' => 'JWT'])) . '.' . base64url($json($claims));
    return $signed . '.' . base64url($sign($signed));
}

if ($argc < 6) {
    fwrite(STDERR, "usage: php token.php KEY_FILE AUDIENCE TENANT PRODUCT USER [ROOM]\n");
    exit(2);
}
[, $key_file, $audience, $tenant, $product, $user] = $argv;
$claims = [
    'sub' => $user,
    'tenant' => $tenant,
    'product' => $product, // "atom" or "assist"
    'aud' => $audience,
    'iat' => time(),
    'exp' => time() + VALID_S,
    // Optional too: name (the display name), role, grants, nbf.
];
if (isset($argv[6])) {
    // Without a room the token admits to every room of the tenant.
    $claims['room'] = $argv[6];
}
echo sign_token($key_file, $claims), "\n";
