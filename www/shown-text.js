//! Makes untrusted text (a room's name, an address in a link, a strap's name) safe to display: it cannot change the
//! direction of the text around it, and invisible characters become visible. Changes only what is displayed, never the
//! name.

/**
 * Characters that are invisible or look like a plain space: controls, direction marks, joiners, fillers, variation
 * selectors and other spaces. The wide space of Japanese is visible, so it is not included.
 */
const INVISIBLE = /(?![ \u{3000}])[\p{Control}\p{Format}\p{Default_Ignorable_Code_Point}\p{Separator}\u{2800}]/gu;

/** Where such a character is legitimate: in an emoji, and between letters of scripts that use joiners. */
const LEGITIMATE = new RegExp(
  [
    String.raw`(?<=\p{Extended_Pictographic}[\p{Emoji_Modifier}\u{FE0F}]?)\u{200D}(?=\p{Extended_Pictographic})`,
    String.raw`(?<=\p{Extended_Pictographic})\u{FE0F}`,
    ...["Arabic", "Devanagari", "Bengali", "Sinhala", "Malayalam", "Kannada", "Telugu"].map(
      (script) => String.raw`(?<=\p{Script=${script}})[\u{200C}\u{200D}](?=\p{Script=${script}})`,
    ),
  ].join("|"),
  "gu",
);

/** Right-to-left letters, by the blocks that Unicode reserves for them. */
const RIGHT_TO_LEFT = /[\u{590}-\u{8FF}\u{FB1D}-\u{FDFF}\u{FE70}-\u{FEFC}\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]/u;

/**
 * The text with invisible characters spelled out (‹U+202E›), so that texts that differ look different. For an element
 * that isolates it, such as `<bdi>`.
 *
 * @param {string} text
 * @returns {string}
 */
export function shownText(text) {
  const legitimate = new Set([...text.matchAll(LEGITIMATE)].map(({ index }) => index));
  return text.replace(INVISIBLE, (found, offset) =>
    legitimate.has(offset) ? found : `‹U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`,
  );
}

/**
 * The same within a sentence: right-to-left text is isolated from the words around it.
 *
 * @param {string} text
 * @returns {string}
 */
export function shownInSentence(text) {
  const shown = shownText(text);
  return RIGHT_TO_LEFT.test(shown) ? `\u{2068}${shown}\u{2069}` : shown;
}
