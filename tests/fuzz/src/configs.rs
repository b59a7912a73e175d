//! The config file.

/// Any text: a config, or mistakes with places that are in it.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let parsed = config::parse("secd.toml", text);
    let Err(errors) = parsed else { return };
    assert!(!errors.is_empty());
    let lines: Vec<&str> = text.split('\n').collect();
    for error in &errors {
        let line = lines.get(error.line as usize - 1).unwrap_or_else(|| panic!("no such line: {error}"));
        assert!(error.column as usize <= line.chars().count() + 1, "no such column: {error}");
        assert!(!error.message.is_empty() && !error.help.is_empty(), "{error}");
        assert!(error.message.chars().all(|c| !c.is_control()), "{error:?}");
    }
    assert_eq!(config::parse("secd.toml", text).err(), Some(errors), "the same each time");
}
