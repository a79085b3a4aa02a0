//! Strips comments from scripts and style sheets, where they are a fifth of what every visitor downloads.
//!
//! It removes only whole lines, so the remaining lines are exactly as written.

/// Extensions of the files that have such comments.
const COMMENTED: [&str; 2] = [".js", ".css"];

/// Whether comments are stripped from the file at this path.
pub(crate) fn has_comments(path: &str) -> bool {
    COMMENTED.iter().any(|end| path.ends_with(end))
}

/// The script or style sheet without the lines that contain only a comment. Template literals (text between backticks)
/// are kept as they are.
pub(crate) fn without_comments(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut in_comment = false;
    let mut in_template = false;
    for line in source.split_inclusive('\n') {
        let trimmed = line.trim();
        if in_comment {
            // Code may follow the end of a comment. It loses only its indentation.
            if let Some((_, rest)) = trimmed.split_once("*/") {
                in_comment = false;
                if !rest.trim().is_empty() {
                    kept.push_str(rest.trim_start());
                    kept.push('\n');
                }
            }
        } else if !in_template && trimmed.starts_with("//") {
            // A line comment.
        } else if !in_template && trimmed.starts_with("/*") && !trimmed.contains("*/") {
            in_comment = true;
        } else if !in_template && trimmed.starts_with("/*") && trimmed.ends_with("*/") {
            // A block comment. Two of them may have code in between, so such a line is kept.
            if trimmed.matches("*/").count() > 1 {
                kept.push_str(line);
            }
        } else {
            kept.push_str(line);
            in_template ^= line.matches('`').count() % 2 == 1;
        }
    }
    // The backticks or comments are unbalanced, so comments cannot be identified reliably. Strip nothing.
    if in_template || in_comment {
        return source.to_owned();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comment_lines_are_removed() {
        let source = "\
// One line.
/** A block
 * of lines: `odd.
 */
const a = 1; // beside code
  /* in one line */
  // indented
const url = \"https://a/*b\";

a { color: red; } /* beside code */
";
        let kept = "\
const a = 1; // beside code
const url = \"https://a/*b\";

a { color: red; } /* beside code */
";
        assert_eq!(without_comments(source), kept);
        assert_eq!(without_comments(kept), kept);
    }

    #[test]
    fn text_that_looks_like_a_comment_stays() {
        for code in [
            "const text = `\n// no comment\n/* nor\n   this */`;\n",
            "/* a */ code(); /* b */\n",
            "/* a */ code();\n",
            "x = 6\n  / 2;\n",
            "// kept\nconst odd = /`/;\nconst text = `\n// no comment\n`;\n",
            "no newline at the end",
            "",
        ] {
            assert_eq!(without_comments(code), code);
        }
    }

    #[test]
    fn code_after_a_block_comment_stays() {
        assert_eq!(
            without_comments("/* a\n   b */ code();\nmore();\n"),
            "code();\nmore();\n"
        );
    }

    #[test]
    fn only_scripts_and_styles_are_stripped() {
        for (path, has) in [
            ("index.js", true),
            ("styles/base.css", true),
            ("index.html", false),
            ("pkg/wasm_node_bg.wasm", false),
            ("data.json", false),
        ] {
            assert_eq!(has_comments(path), has, "{path}");
        }
    }
}
