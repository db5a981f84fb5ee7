#!/usr/bin/env bash
# The work of action.yml: compress MODEL where there is one, compare with BASELINE where there is one, and leave the
# Markdown in the job's summary. All inputs are environment variables. The exit code of the commands is an output, so
# that the report is uploaded whatever they say.
set -euo pipefail

if [[ "$OUT$REPORT" == *$'\n'* ]]; then
    echo "::error::out and report must be one line each"
    exit 2
fi
mkdir -p "$OUT"
report=${REPORT:-$OUT/run/report.json}
page=""
code=0

gates=()
[[ -z $MAX_DROP ]] || gates+=("--max-drop=$MAX_DROP")
[[ -z $MIN_SPEEDUP ]] || gates+=("--min-speedup=$MIN_SPEEDUP")

if [[ -z $MODEL && -z $BASELINE ]]; then
    echo "::error::give a model to compress, or a report and a baseline to compare it with"
    code=2
fi

if [[ -n $MODEL ]]; then
    # Quotes are read as a shell reads them, and nothing is run or expanded.
    options=()
    while IFS= read -r -d '' option; do
        options+=("$option")
    done < <("$PYTHON" -c 'import os, shlex, sys
sys.stdout.writelines(option + "\0" for option in shlex.split(os.environ["OPTIONS"]))')
    # Against a baseline the gates are for the comparison.
    if [[ -n $BASELINE ]]; then own=(); else own=("${gates[@]}"); fi
    "$PYTHON" -m compressor run --quiet --out "$OUT/run" "${own[@]}" "${options[@]}" -- "$MODEL" || code=$?
    if [[ -f $OUT/run/report.md ]]; then page=$OUT/run/report.md; fi
fi

if [[ -n $BASELINE && $code -eq 0 ]]; then
    "$PYTHON" -m compressor compare --overwrite "${gates[@]}" --out "$OUT/comparison.md" -- "$BASELINE" "$report" || code=$?
    if [[ -f $OUT/comparison.md ]]; then page=$OUT/comparison.md; fi
fi

if [[ -n $page ]]; then cat "$page" >> "$GITHUB_STEP_SUMMARY"; fi
{
    echo "code=$code"
    echo "page=$page"
    echo "report=$report"
} >> "$GITHUB_OUTPUT"
