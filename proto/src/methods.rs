//! Which methods there are, for tables that must have a row for each of them.

/// The path of every method in the .proto files, such as `/pi.agent.v1.NodeAgent/ControlGPIO`, in order.
pub const METHODS: &[&str] = &include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// The first of `methods` below `prefix` that has no row in a table from path to something. To be asked at compile time,
/// so that a method without a row is a build that fails:
///
/// ```
/// const ROWS: &[(&str, bool)] = &[("/pi.a.v1.A/X", true), ("/pi.a.v1.A/Y", true)];
/// const _: () = assert!(proto::without_row(&["/pi.a.v1.A/X", "/pi.b.v1.B/Z"], "/pi.a.", ROWS).is_none());
/// ```
///
/// ```compile_fail,E0080
/// const ROWS: &[(&str, bool)] = &[("/pi.a.v1.A/X", true), ("/pi.a.v1.A/Y", true)];
/// const _: () = assert!(proto::without_row(&["/pi.a.v1.A/X", "/pi.a.v1.A/Z"], "/pi.a.", ROWS).is_none());
/// ```
pub const fn without_row<T>(
    methods: &[&'static str],
    prefix: &str,
    rows: &[(&'static str, T)],
) -> Option<&'static str> {
    let mut method = 0;
    while method < methods.len() {
        let path = methods[method];
        if has_prefix(path.as_bytes(), prefix.as_bytes()) && !has_row(path, rows) {
            return Some(path);
        }
        method += 1;
    }
    None
}

/// The first method that has two rows in a table, of which only one would ever be looked at.
pub const fn twice<T>(rows: &[(&'static str, T)]) -> Option<&'static str> {
    let (mut one, mut other) = (0, 1);
    while one < rows.len() {
        while other < rows.len() {
            if rows[one].0.len() == rows[other].0.len() && has_prefix(rows[one].0.as_bytes(), rows[other].0.as_bytes())
            {
                return Some(rows[one].0);
            }
            other += 1;
        }
        one += 1;
        other = one + 1;
    }
    None
}

const fn has_row<T>(path: &str, rows: &[(&'static str, T)]) -> bool {
    let mut row = 0;
    while row < rows.len() {
        let known = rows[row].0;
        if known.len() == path.len() && has_prefix(path.as_bytes(), known.as_bytes()) {
            return true;
        }
        row += 1;
    }
    false
}

/// `==` and `starts_with` are not const yet.
const fn has_prefix(text: &[u8], prefix: &[u8]) -> bool {
    if text.len() < prefix.len() {
        return false;
    }
    let mut at = 0;
    while at < prefix.len() {
        if text[at] != prefix[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_without_a_row_is_found() {
        let rows = [("/pi.a.v1.A/X", ()), ("/pi.a.v1.A/XY", ())];
        assert_eq!(without_row(&["/pi.a.v1.A/X", "/pi.a.v1.A/XY"], "/", &rows), None);
        assert_eq!(without_row(&["/pi.a.v1.A/X", "/pi.a.v1.A/"], "/", &rows), Some("/pi.a.v1.A/"));
        assert_eq!(without_row(&["/pi.a.v1.A/Z", "/pi.b.v1.B/Z"], "/pi.b.", &rows), Some("/pi.b.v1.B/Z"));
        assert_eq!(without_row(&["/pi.a.v1.A/x"], "/", &rows), Some("/pi.a.v1.A/x"));
        assert!(METHODS.contains(&"/pi.agent.v1.NodeAgent/ControlGPIO"));
    }
}
