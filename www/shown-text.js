//! Text that somebody else chose (a room's name, an address in a link, what a strap calls itself), made fit to be read
//! within the page's own: it cannot turn its surroundings around, and hides nothing. Never changes what a thing is called,
//! only what is seen of it.

/**
 * What looks like nothing, or like a plain space: controls, marks of direction, joiners, fillers, variation selectors, and
 * other spaces. The wide space of Japanese is seen.
 */
const UNSEEN = /(?![ \u{3000}])[\p{Control}\p{Format}\p{Default_Ignorable_Code_Point}\p{Separator}\u{2800}]/gu;

/** Where such a character is how one writes: in an emoji, and between letters of scripts that join or part them by it. */
const AT_HOME = new RegExp(
  [
    String.raw`(?<=\p{Extended_Pictographic}[\p{Emoji_Modifier}\u{FE0F}]?)\u{200D}(?=\p{Extended_Pictographic})`,
    String.raw`(?<=\p{Extended_Pictographic})\u{FE0F}`,
    ...["Arabic", "Devanagari", "Bengali", "Sinhala", "Malayalam", "Kannada", "Telugu"].map(
      (script) => String.raw`(?<=\p{Script=${script}})[\u{200C}\u{200D}](?=\p{Script=${script}})`,
    ),
  ].join("|"),
  "gu",
);

/** Letters that are written from right to left, by the blocks that Unicode keeps for them. */
const RIGHT_TO_LEFT = /[\u{590}-\u{8FF}\u{FB1D}-\u{FDFF}\u{FE70}-\u{FEFC}\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]/u;

/**
 * The text with everything unseen in it made visible (‹U+202E›), so that two that differ look different. For an element
 * of its own that isolates it, such as `<bdi>`.
 *
 * @param {string} text
 * @returns {string}
 */
export function shownText(text) {
  const atHome = new Set([...text.matchAll(AT_HOME)].map(({ index }) => index));
  return text.replace(UNSEEN, (found, place) =>
    atHome.has(place) ? found : `‹U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`,
  );
}

/**
 * The same for a place within a sentence: what is written from right to left is kept apart from the words around it.
 *
 * @param {string} text
 * @returns {string}
 */
export function shownInSentence(text) {
  const shown = shownText(text);
  return RIGHT_TO_LEFT.test(shown) ? `\u{2068}${shown}\u{2069}` : shown;
}
