// The public API of the Nucleus client for browsers.
export {};
