"""temporary"""
def write(summary, folder, old=None):
    folder.mkdir(parents=True, exist_ok=True); (folder/"summary.json").write_text(summary.model_dump_json(indent=1))
