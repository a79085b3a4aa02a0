//! Leaves the comments out of scripts and styles: every visitor would download them, a fifth of the page. Whole lines
//! only, so that what stays is what somebody wrote; nothing else is changed.

/// Ends of the names of files that have such comments.
const COMMENTED: [&str; 2] = [".js", ".css"];

/// Whether comments are left out of the file of this name.
pub(crate) fn has_comments(path: &str) -> bool {
    COMMENTED.iter().any(|end| path.ends_with(end))
}

/// The script or style sheet without the lines that are only comment. Text between backticks is never comment, whatever
/// it looks like.
pub(crate) fn without_comments(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut in_comment = false;
    let mut in_template = false;
    for line in source.split_inclusive('\n') {
        let words = line.trim();
        if in_comment {
            // What follows a comment's end on its line is code, and a space is all that it loses.
            if let Some((_, rest)) = words.split_once("*/") {
                in_comment = false;
                if !rest.trim().is_empty() {
                    kept.push_str(rest.trim_start());
                    kept.push('\n');
                }
            }
        } else if !in_template && words.starts_with("//") {
            // Only comment.
        } else if !in_template && words.starts_with("/*") && !words.contains("*/") {
            in_comment = true;
        } else if !in_template && words.starts_with("/*") && words.ends_with("*/") {
            // Only comment, unless there are two with code between them, which nobody writes.
            if words.matches("*/").count() > 1 {
                kept.push_str(line);
            }
        } else {
            kept.push_str(line);
            in_template ^= line.matches('`').count() % 2 == 1;
        }
    }
    // Whoever lost count of the backticks cannot tell what is text, and leaves everything.
    if in_template || in_comment {
        return source.to_owned();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_only_comment_go_and_all_others_stay() {
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
    fn what_only_looks_like_a_comment_stays() {
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
    fn code_after_a_block_of_comment_stays() {
        assert_eq!(
            without_comments("/* a\n   b */ code();\nmore();\n"),
            "code();\nmore();\n"
        );
    }

    #[test]
    fn scripts_and_styles_have_comments_and_texts_have_not() {
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
