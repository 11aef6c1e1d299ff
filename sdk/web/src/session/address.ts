/** The address of a server, as an application or another server writes it. */

/** The port of a server whose address names none. */
const DEFAULT_PORT = 5_055;
/** Longest name of a host in DNS. */
const MAX_HOST = 253;
/** Longest address: a host and a port. A longer text is not even read: that takes time. */
const MAX_ADDRESS = MAX_HOST + ":65535".length;

/** A host without characters that a URL gives another meaning, or an IPv6 address in brackets. */
const ADDRESS = /^(\[[\da-f:.]+\]|[^\s:/?#@%\\[\]]+)(?::(\d{1,5}))?$/i;
/** An IPv6 address without brackets, and so without a port. */
const BARE_IPV6 = /^[\da-f]*:[\da-f:.]*:[\da-f:.]*$/i;
/** A name of labels, or an address, as a URL has it. */
const HOST = /^(?:\[.*\]|[\w-]+(?:\.[\w-]+)*\.?)$/;
const IPV4 = /^\d+\.\d+\.\d+\.\d+$/;

/**
 * Reads `host`, `host:port`, `192.0.2.1:port`, `::1` or `[::1]:port`. Returns `host:port` as a URL
 * has it; without a port, 5055 is used. Returns `undefined` for any other text.
 */
export function addressOf(server: string): string | undefined {
  const text = server.trim();
  if (text.length > MAX_ADDRESS) {
    return undefined;
  }
  const [, host = "", port = DEFAULT_PORT] =
    ADDRESS.exec(BARE_IPV6.test(text) ? `[${text}]` : text) ?? [];
  if (host === "" || Number(port) < 1 || Number(port) > 65_535) {
    return undefined;
  }
  try {
    const { hostname } = new URL(`https://${host}/`);
    // A URL takes a number such as 5055 for an IPv4 address.
    const isNumber = IPV4.test(hostname) && !IPV4.test(host);
    const isHost = HOST.test(hostname) && hostname.length <= MAX_HOST;
    return isHost && !isNumber ? `${hostname}:${Number(port)}` : undefined;
  } catch {
    return undefined;
  }
}
