//! Parses a heart-rate strap's notifications: the Heart Rate Measurement of Bluetooth's Heart Rate Service (assigned
//! number 0x2A37). Talks to no strap and does not decide whether a heart rate may be recorded.

/** Flags of the first byte (Heart Rate Service 1.0, 3.1.1.1); the three highest bits are reserved and ignored. */
const VALUE_IS_16_BIT = 0b0_0001;
const CONTACT_DETECTED = 0b0_0010;
const CONTACT_SUPPORTED = 0b0_0100;
const ENERGY_PRESENT = 0b0_1000;
const RR_PRESENT = 0b1_0000;

/** RR intervals come in units of 1/1024 s. */
const RR_UNITS_A_SECOND = 1024;
/**
 * The longest value of a characteristic, in bytes (Bluetooth Core, Vol 3, Part F, 3.2.9): further bytes are ignored.
 */
const MAX_VALUE_BYTES = 512;

/**
 * One measurement.
 *
 * @typedef {object} Measurement
 * @property {number} bpm beats per minute as reported by the strap, 0 to 65535
 * @property {boolean | null} contact whether the strap touches the skin; null if it cannot tell
 * @property {number[]} rrMs intervals between beats in ms, oldest first
 */

/**
 * Parses one measurement. The bytes after the heart rate may be truncated or odd: whole RR intervals are read as far as
 * they go, and the energy is skipped.
 *
 * @param {DataView} data the characteristic's value
 * @returns {Measurement | null} null if the heart rate itself is truncated
 */
export function parseMeasurement(data) {
  const length = Math.min(data.byteLength, MAX_VALUE_BYTES);
  if (length === 0) return null;
  const flags = data.getUint8(0);
  const wide = (flags & VALUE_IS_16_BIT) !== 0;
  let at = wide ? 3 : 2;
  if (length < at) return null;
  const bpm = wide ? data.getUint16(1, true) : data.getUint8(1);

  if (flags & ENERGY_PRESENT) at += 2;
  const rrMs = [];
  if (flags & RR_PRESENT) {
    for (; at + 2 <= length; at += 2) {
      rrMs.push((data.getUint16(at, true) * 1000) / RR_UNITS_A_SECOND);
    }
  }
  const contact = flags & CONTACT_SUPPORTED ? (flags & CONTACT_DETECTED) !== 0 : null;
  return { bpm, contact, rrMs };
}

/**
 * Parses the Battery Level (0x2A19).
 *
 * @param {DataView} data
 * @returns {number | null} percent, null if the value is invalid
 */
export function parseBattery(data) {
  if (data.byteLength < 1) return null;
  const percent = data.getUint8(0);
  return percent <= 100 ? percent : null;
}
