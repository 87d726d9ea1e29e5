"""What the companion of the guided tour says, in English and in Spanish; names in braces are filled in."""

from collections.abc import Mapping

LANGUAGES = ("en", "es")
PAGES = {
    "explore": "1-explore",
    "environment": "2-environment",
    "train": "3-train-and-track",
    "registry": "4-registry",
    "serve": "5-serving",
    "produce": "6-production",
}
# What one runs next in a phase, as the trainer takes it.
COMMANDS = {
    "explore": "explore",
    "environment": "train",
    "train": "train --param C=0.001",
    "registry": "promote {challenger}",
    "produce": 'rollback --reason "trying the way back"',
}

_ENGLISH = {
    "title": "The guided tour: from the data to the deployed model",
    "explore": "Explore the data",
    "explored": "the data was explored, and MLflow has the report (runs: {count})",
    "unexplored": "nobody has looked at the data yet",
    "explore_next": "look at the data before you fit anything to it:",
    "environment": "Reproducible environment",
    "equal_trainings": "versions {first} and {second}: same data, code and parameters, same figures",
    "none_equal": "nothing was trained twice yet (versions with a run: {count})",
    "environment_next": "train the same once more, and see whether it comes to the same:",
    "train": "Train and track",
    "compared": "trainings tracked: {count}, with {kinds} different settings",
    "tracked": "trainings tracked: {count}, all with the same settings",
    "untracked": "no training is tracked yet",
    "train_next": "train with another parameter, and compare the two runs in MLflow:",
    "registry": "Registry",
    "no_version": "no version is registered",
    "registered": "version {newest} is registered, Production is version {production}",
    "promoted": "version {newest} is registered, Production is version {production}; you promoted version {version}",
    "registry_next": "put a version into Production by hand:",
    "serve": "Serving",
    "no_service": "the prediction service does not answer ({fault})",
    "serves_nothing": "the prediction service has no model yet",
    "serves_other": "version {served} is served, and Production is version {production}",
    "unasked": "version {served} is served; nobody has asked it anything yet",
    "asked": "version {served} is served, rows predicted: {rows}",
    "serve_next": "start the service where it does not run, and ask it for a prediction, as the page shows.",
    "produce": "Life in production",
    "not_rolled_back": "Production has never gone back",
    "rolled_back": "Production went back from version {before} to version {version}",
    "produce_next": "go back to the version before, and say why:",
    "where": "You are in phase {number}: {name}.",
    "next": "Next: {step}",
    "page": "The page: {page}",
    "all_done": "You have been through all six phases.",
}

_SPANISH = {
    "title": "La visita guiada: de los datos al modelo desplegado",
    "explore": "Explorar los datos",
    "explored": "los datos están explorados y MLflow guarda el informe (ejecuciones: {count})",
    "unexplored": "nadie ha mirado todavía los datos",
    "explore_next": "mira los datos antes de ajustarles ningún modelo:",
    "environment": "Entorno reproducible",
    "equal_trainings": "versiones {first} y {second}: mismos datos, código y parámetros, mismas cifras",
    "none_equal": "todavía no se ha entrenado nada dos veces (versiones con ejecución: {count})",
    "environment_next": "entrena otra vez lo mismo y comprueba si sale lo mismo:",
    "train": "Entrenar y hacer seguimiento",
    "compared": "entrenamientos anotados en MLflow: {count}, con {kinds} configuraciones distintas",
    "tracked": "entrenamientos anotados en MLflow: {count}, todos con la misma configuración",
    "untracked": "MLflow no tiene todavía ningún entrenamiento",
    "train_next": "entrena con otro parámetro y compara las dos ejecuciones en MLflow:",
    "registry": "Registro de modelos",
    "no_version": "no hay ninguna versión registrada",
    "registered": "la versión {newest} está registrada; en Production está la versión {production}",
    "promoted": "la versión {newest} está registrada; en Production está la {production}; promoviste la {version}",
    "registry_next": "pon una versión en Production a mano:",
    "serve": "Servir el modelo",
    "no_service": "el servicio de predicción no responde ({fault})",
    "serves_nothing": "el servicio de predicción todavía no tiene modelo",
    "serves_other": "se sirve la versión {served}, pero en Production está la {production}",
    "unasked": "se sirve la versión {served}; nadie le ha preguntado nada todavía",
    "asked": "se sirve la versión {served}; filas predichas: {rows}",
    "serve_next": "arranca el servicio si no está en marcha y pídele una predicción, como muestra la página.",
    "produce": "La vida en producción",
    "not_rolled_back": "Production nunca ha vuelto atrás",
    "rolled_back": "Production volvió de la versión {before} a la versión {version}",
    "produce_next": "vuelve a la versión anterior y di por qué:",
    "where": "Estás en la fase {number}: {name}.",
    "next": "Lo siguiente: {step}",
    "page": "La página: {page}",
    "all_done": "Has recorrido las seis fases.",
}

WORDS: dict[str, dict[str, str]] = {"en": _ENGLISH, "es": _SPANISH}


def language_of(environ: Mapping[str, str]) -> str:
    """Return the language that an environment asks for (es_MX.UTF-8: Spanish), English where it is none of ours."""
    wanted = next(filter(None, (environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return wanted[:2] if wanted[:2] in LANGUAGES else "en"
