const RATE = 48000, FRAME = 960, FIRST = 1920, MOST = 5760, RING = 8192;
class Processor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.isOpen = true;
    this.step = sampleRate / RATE;
    this.port.onmessage = ({ data }) => this.take(data);
  }
  take() { this.isOpen = false; }
}
class Capture extends Processor {
  constructor() {
    super();
    this.frame = new Float32Array(FRAME);
    this.filled = 0;
    this.position = 0;
    this.before = 0;
  }
  process([channels]) {
    const length = channels.length > 0 ? channels[0].length : 0;
    for (let i = 0; i < length; i++) {
      let sample = 0;
      for (const channel of channels) sample += channel[i] / channels.length;
      // Sample i is at 0, the one before at -1. A position is where the next sample of 48 kHz lies.
      for (; this.position <= 0; this.position += this.step) {
        this.frame[this.filled++] = sample + (sample - this.before) * this.position;
        if (this.filled === FRAME) {
          this.port.postMessage(this.frame, [this.frame.buffer]);
          this.frame = new Float32Array(FRAME);
          this.filled = 0;
        }
      }
      this.position -= 1;
      this.before = sample;
    }
    return this.isOpen;
  }
}
class Playback extends Processor {
  constructor() {
    super();
    this.voices = new Map();
    this.clock = 0;
  }
  take(data) {
    if (typeof data !== "object") { this.isOpen = false; return; }
    const { peer, samples, left, right } = data;
    let voice = this.voices.get(peer);
    if (samples === undefined && left === undefined) { this.voices.delete(peer); return; }
    if (!voice) {
      voice = { ring: new Float32Array(RING), read: 0, write: 0, waited: 0, isPlaying: false,
        left: 0, right: 0, toLeft: 0, toRight: 0 };
      this.voices.set(peer, voice);
    }
    if (samples === undefined) { voice.toLeft = left; voice.toRight = right; return; }
    for (const sample of samples) voice.ring[voice.write++ % RING] = sample;
    if (voice.write - voice.read > MOST) voice.read = voice.write - FIRST;
  }
  process(inputs, [[left, right]]) {
    for (const voice of this.voices.values()) this.mix(voice, left, right || left);
    this.clock += left.length / this.step;
    if (this.clock >= FRAME) {
      this.clock -= FRAME;
      this.port.postMessage(0);
    }
    return this.isOpen;
  }
  mix(voice, left, right) {
    const count = left.length, waiting = voice.write - voice.read;
    if (!voice.isPlaying) {
      voice.waited = waiting > 0 ? voice.waited + count : 0;
      if (waiting <= 0 || (waiting < FIRST && voice.waited < FIRST)) return;
      voice.isPlaying = true;
      voice.left = voice.right = 0;
    }
    // The gains change within one block, so that nothing clicks.
    const byLeft = (voice.toLeft - voice.left) / count;
    const byRight = (voice.toRight - voice.right) / count;
    for (let i = 0; i < count; i++) {
      const at = Math.floor(voice.read), part = voice.read - at;
      if (at + (part > 0 ? 1 : 0) >= voice.write) {
        voice.isPlaying = false;
        voice.waited = 0;
        voice.read = voice.write;
        break;
      }
      const a = voice.ring[at % RING], b = part > 0 ? voice.ring[(at + 1) % RING] : a;
      const sample = a + (b - a) * part;
      left[i] += sample * (voice.left += byLeft);
      right[i] += sample * (voice.right += byRight);
      voice.read += 1 / this.step;
    }
    voice.left = voice.toLeft;
    voice.right = voice.toRight;
  }
}
registerProcessor("nucleus-capture", Capture);
registerProcessor("nucleus-playback", Playback);
