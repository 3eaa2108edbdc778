//! The progress line: how a program in a pod says how far its phase is.
//!
//! `###Phase-progress###: {"progressPercent":"40","sizeUploadedB":1024}` is the end of a line of the pod's log, with
//! the fields of a phase's progress in the status. Kanister has none; its controller takes the line for log.

use crate::PhaseProgress;

/// What announces progress.
pub const PROGRESS_MARKER: &str = "###Phase-progress###:";

/// The line that says how far the phase is, with its newline.
pub fn progress_line(progress: &PhaseProgress) -> String {
    let json = serde_json::to_string(progress).expect("texts and numbers are always JSON");
    format!("{PROGRESS_MARKER} {json}\n")
}

/// What a line says of progress; `None` if it says nothing. Numbers below zero, a percentage that is no number from
/// 0 to 100 and times count as not said.
pub fn progress_in(line: &str) -> Option<PhaseProgress> {
    let (_, json) = line.split_once(PROGRESS_MARKER)?;
    let said: PhaseProgress = serde_json::from_str(json.trim()).ok()?;
    let percent = said.progress_percent.parse::<u8>().ok().filter(|percent| *percent <= 100);
    Some(PhaseProgress {
        progress_percent: percent.map(|percent| percent.to_string()).unwrap_or_default(),
        downloaded_bytes: said.downloaded_bytes.max(0),
        uploaded_bytes: said.uploaded_bytes.max(0),
        estimated_download_bytes: said.estimated_download_bytes.max(0),
        estimated_upload_bytes: said.estimated_upload_bytes.max(0),
        estimated_secs: said.estimated_secs.max(0),
        last_transition_time: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let said = PhaseProgress {
            progress_percent: "40".to_owned(),
            uploaded_bytes: 7,
            estimated_upload_bytes: 20,
            ..PhaseProgress::default()
        };
        let line = progress_line(&said);
        assert_eq!(
            line,
            "###Phase-progress###: {\"progressPercent\":\"40\",\"sizeUploadedB\":7,\"estimatedUploadSizeB\":20}\n"
        );
        assert_eq!(progress_in(line.trim_end()), Some(said.clone()));
        assert_eq!(progress_in(&format!("pg_dump: {line}")), Some(said));
    }

    #[test]
    fn nonsense_counts_as_not_said() {
        assert_eq!(progress_in("40 percent"), None);
        assert_eq!(progress_in("###Phase-progress###: 40"), None);
        let odd = r#"###Phase-progress###: {"progressPercent":"400","sizeUploadedB":-1}"#;
        assert_eq!(progress_in(odd), Some(PhaseProgress::default()));
    }
}
