//! All lessons, to be loaded when somebody wants them. Nothing else.

export * from "./lesson-branches.js";
export * from "./lesson-forgery.js";
export * from "./lesson-mining.js";
export * from "./lesson-step.js";
export * from "./lesson-tampering.js";
