//! The names of states in statements: `{ready}` stands for the code of [`State::Ready`], and so on for each
//! state of the table. A statement is written with names and sent with codes.

use crate::lifecycle::State;

/// The statement as a database reads it.
pub(crate) fn with_codes(sql: &str) -> String {
    let mut text = sql.to_owned();
    for state in State::ALL {
        let name = format!("{{{}}}", state.name());
        if text.contains(&name) {
            text = text.replace(&name, &state.code().to_string());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_code() {
        for state in State::ALL {
            let sql = format!("WHERE state = {{{}}}", state.name());
            assert_eq!(with_codes(&sql), format!("WHERE state = {}", state.code()));
        }
        assert_eq!(with_codes("SELECT '{}'"), "SELECT '{}'");
    }
}
