//! `lastout man`: the manual page, from the table of commands.

use crate::commands::ALL;
use crate::help::{STATUS, STATUS_OF_RUN, UNITS};

/// The page, for `man`.
pub(crate) fn page() -> String {
    let mut page = format!(
        ".TH LASTOUT 1 \"\" \"lastout {}\" \"User Commands\"\n.SH NAME\nlastout \\- \
         runs programs of which nothing survives, and looks into what runs\n.SH SYNOPSIS\n\
         .B lastout\n.I COMMAND\n[\\fIOPTION\\fR|\\fIWORD\\fR]...\n.SH COMMANDS\n",
        env!("CARGO_PKG_VERSION")
    );
    for command in ALL {
        page.push_str(&format!(".SS \"lastout {}", command.name));
        match command.arguments {
            "" => page.push_str("\"\n"),
            words => page.push_str(&format!(" {}\"\n", escaped(words))),
        }
        page.push_str(&format!("{}.\n", escaped(&capital(&command.summary()))));
        for option in command.options() {
            page.push_str(&format!(
                ".TP\n.B {}\n{}\n",
                escaped(&option.shown()),
                escaped(option.about)
            ));
        }
    }
    page.push_str(&format!(".SH UNITS\n{}\n.SH EXIT STATUS\n", escaped(UNITS)));
    let mut statuses = |statuses: &[(&str, &str)]| {
        for (code, meaning) in statuses {
            page.push_str(&format!(".TP\n.B {code}\n{}\n", escaped(meaning)));
        }
    };
    statuses(STATUS);
    statuses(&[("of run", "that of the program, or 128 and the signal that ended it, or")]);
    statuses(STATUS_OF_RUN);
    page.push_str(
        ".SH ENVIRONMENT\n.TP\n.B LASTOUT_STORE\nThe job store, where \\-\\-store is not given.\n\
         .TP\n.B LASTOUT_CHROME, LASTOUT_CHROME_HEADLESS_SHELL\nThe browser of browsers capture.",
    );
    page
}

/// Text in which troff sees no request and no escape.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    let text = text.replace('"', "\\(dq");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
