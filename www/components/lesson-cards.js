//! Re-exports all lesson components, so that one import loads them when the user turns the lessons on.

export * from "./lesson-branches.js";
export * from "./lesson-forgery.js";
export * from "./lesson-mining.js";
export * from "./lesson-step.js";
export * from "./lesson-tampering.js";
