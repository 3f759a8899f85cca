#!/usr/bin/env bash
# Drives a real SGLang or vLLM with Swerve's engine: answers against the local engine, a client that leaves, a training run whose
# server is killed and started anew, the log-probabilities of every weight version. What docs/engines.md tells was seen with it.
#   tools/try_server.sh sglang|vllm [--command COMMAND] [--model DIR] [--port N] [--steps N] [--out DIR]
# COMMAND starts the server (by default `python3 -m sglang.launch_server` or `vllm serve`); a GPU is not needed. By default the
# policy is the shipped one, for SGLang its language half. Ends with one line for each thing, and 1 if any is not as it must be.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:-} command='' model='' port=8123 steps=6 out='' swerve=${SWERVE:-./swerve}
usage() { sed -n '2,6p' "$0"; exit 2; }
case "$kind" in sglang | vllm) shift ;; *) usage ;; esac
while [ $# -gt 0 ]; do
  case "$1" in
    --command) command=$2; shift 2 ;;
    --model) model=$2; shift 2 ;;
    --port) port=$2; shift 2 ;;
    --steps) steps=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    *) usage ;;
  esac
done
out=${out:-build/try_$kind}
case "$kind" in sglang) deadline=90 ;; *) deadline=20 ;; esac  # a CPU is slow
url=http://127.0.0.1:$port gateway=$((port + 1)) server='' served=''
say() { printf 'try_server: %s\n' "$*" >&2; }
end() { if [ -n "$1" ]; then kill -"${2:-TERM}" -- "-$1" 2>/dev/null || true; fi; }
trap 'end "$served"; end "$server"' EXIT
rm -rf "$out"
mkdir -p "$out"
if [ -z "$model" ] && [ "$kind" = sglang ]; then
  model=$out/policy
  tools/text_policy.py models/tiny "$model"
fi
model=${model:-models/tiny}

# shellcheck disable=SC2086  # a command may be several words
start_sglang() {  # the flags after the data type's are for SGLang on a CPU
  HF_HUB_OFFLINE=1 SGLANG_USE_CPU_ENGINE="${SGLANG_USE_CPU_ENGINE:-1}" OMP_WAIT_POLICY=PASSIVE setsid ${command:-python3 -m sglang.launch_server} \
    --model-path "$model" --host 127.0.0.1 --port "$port" --dtype float32 \
    --device cpu --attention-backend torch_native --disable-overlap-schedule --max-total-tokens 30000 --max-running-requests 32 \
    --grammar-backend none --skip-server-warmup >>"$out/server.log" 2>&1 &
}
# shellcheck disable=SC2086
start_vllm() {  # the flags after the lengths' are for vLLM on a CPU, which dies of a prompt that it cuts, and do no harm elsewhere
  VLLM_SERVER_DEV_MODE=1 VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE:-1}" HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 setsid ${command:-vllm serve} "$model" \
    --host 127.0.0.1 --port "$port" --dtype float32 --max-model-len 1024 --enforce-eager --logprobs-mode processed_logprobs \
    --no-enable-chunked-prefill --max-num-batched-tokens 16384 >>"$out/server.log" 2>&1 &
}
start_server() {
  say "starting $kind (log in $out/server.log)"
  "start_$kind"
  server=$!
}
await_server() {
  local since=$SECONDS
  until curl -sf -m 2 -o /dev/null "$url/health"; do
    kill -0 "$server" 2>/dev/null || { tail -n 20 "$out/server.log" >&2; say "$kind ended"; exit 1; }
    sleep 1
  done
  say "it is there after $((SECONDS - since)) s"
}
running_sglang() { curl -sf -m 5 "$url/v1/loads" | grep -o '"num_running_reqs":[0-9]*' | head -n 1 | cut -d: -f2; }
running_vllm() { curl -sf -m 5 "$url/metrics" | awk '/^vllm:num_requests_running/ {n += $NF} END {print n + 0}'; }
running() {
  local n
  n=$("running_$kind") || true
  echo "${n:-0}"
}

start_server
"$swerve" scenes generate --mix uniform --count 24 --seed 5 --out "$out/scenes" >"$out/scenes.log" 2>&1
await_server

say "the same scenes, local and by $kind"
for engine in local "$kind"; do
  flags=()
  if [ "$engine" != local ]; then flags=(--engine "$kind" --engine-url "$url"); fi
  "$swerve" eval --policy "$model" --scenes "$out/scenes" --samples 0 --responses "$out/$engine.jsonl" ${flags[@]+"${flags[@]}"} >"$out/eval_$engine.log" 2>&1
done

say "a client that leaves"
setsid "$swerve" serve policy --model "$model" --port "$gateway" --engine "$kind" --engine-url "$url" >"$out/gateway.log" 2>&1 &
served=$!
until curl -sf -m 2 -o /dev/null "http://127.0.0.1:$gateway/health"; do kill -0 "$served"; sleep 0.2; done
most=0 left=none
for seed in 1 2 3 4 5; do  # until one is long enough to be left
  curl -s -m 60 -o /dev/null -H 'Content-Type: application/json' "http://127.0.0.1:$gateway/v1/chat/completions" \
    -d "{\"model\": \"$(basename "$model")\", \"messages\": [{\"role\": \"user\", \"content\": \"what is ahead?\"}], \"max_tokens\": 900, \"temperature\": 2, \"n\": 16, \"seed\": $seed}" &
  client=$!
  for _ in $(seq 20); do most=$(running); [ "$most" = 0 ] || break; sleep 0.05; done
  kill "$client" 2>/dev/null || continue
  wait "$client" 2>/dev/null || true
  [ "$most" != 0 ] || continue
  since=$(date +%s%N)
  until [ "$(running)" = 0 ]; do [ $(($(date +%s%N) - since)) -lt 20000000000 ] || break; sleep 0.05; done
  left=$((($(date +%s%N) - since) / 1000000))
  break
done
end "$served"
served=''

say "a run of $steps steps (log in $out/train.log); the server is killed after the second"
"$swerve" train --config deploy/demo.yaml --run "$out/run" --set "policy.model=$model" --set "scenes.train=[\"$out/scenes\"]" \
  --set learner.steps="$steps" --set learner.batch_groups=8 --set orchestrator.max_staleness=0 --set rollout.workers=1 \
  --set rollout.engine="$kind" --set "rollout.servers.urls=[\"$url\"]" --set rollout.servers.deadline_seconds="$deadline" --set rollout.lease_seconds=$((2 * deadline + 20)) >"$out/train.log" 2>&1 &
run=$!
until [ "$(grep -c . "$out/run/metrics.jsonl" 2>/dev/null || true)" -ge 2 ] 2>/dev/null; do
  kill -0 "$run" 2>/dev/null || { tail -n 5 "$out/train.log" >&2; say "the run ended"; exit 1; }
  sleep 0.5
done
end "$server" KILL
wait "$server" 2>/dev/null || true
start_server
await_server
trained=yes
wait "$run" || trained=no

python3 - "$out" "$kind" "$left" "$most" "$trained" "$steps" <<'P'
import json, sys
out, kind, left, most, trained, steps = sys.argv[1:]
lines = lambda name: [json.loads(line) for line in open(f"{out}/{name}")]
texts = [{a["scene"]: a["text"] for a in lines(f"{engine}.jsonl")} for engine in ("local", kind)]
same = sum(texts[1].get(scene) == text for scene, text in texts[0].items())
rows = [row.get("values", row) for row in lines("run/metrics.jsonl")]
gaps = [row.get("sampling/same_weights_logp_difference/mean") for row in rows]
seen = [gap for gap in gaps if gap is not None]
loads = sum(": loads " in line for line in open(f"{out}/run/logs/rollout-0.log"))
ok = [
    (same == len(texts[0]), f"greedy answers that are the local engine's: {same} of {len(texts[0])}"),
    (left != "none" and int(left) < 20000, f"a client that leaves: {most} running, none {left} ms later"),
    (trained == "yes" and len(rows) == int(steps), f"steps of a run whose server was killed: {len(rows)} of {steps}, {loads} loads of weights"),
    (len(seen) > 1 and max(seen) < 2e-3, "log-probabilities against the learner's, mean, by step: " + " ".join("-" if g is None else f"{g:.1e}" for g in gaps)),
]
for good, what in ok: print("ok     " if good else "NOT OK ", what)
sys.exit(not all(good for good, _ in ok))
P
