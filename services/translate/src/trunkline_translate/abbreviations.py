"""What a full stop after a word means, language by language: data of `boundaries`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

_INNER_STOP = re.compile(r"\\\.(?=.)")


def _words(*lists: str) -> frozenset[str]:
    return frozenset(word for words in lists for word in words.split())


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Abbreviations of a language, without their last full stop, and the words that tell what follows one.

    A space may follow each inner full stop: `z.B` is `z. B.` too. They may begin in upper case where they are listed
    in lower case.
    """

    never: frozenset[str]
    """What follows belongs to them: titles, `e.g.`"""
    numeric: frozenset[str]
    """Abbreviations in front of a number or a single letter, and otherwise words: `No. 5`."""
    names: frozenset[str]
    """May end a sentence: they do when the next word is a starter, for a name may follow: `the U.S. Senate`."""
    ends: frozenset[str]
    """May end a sentence: they do when the next word begins in upper case, and is no day or month: `5 p.m. On foot`."""
    starters: frozenset[str]
    """Words that begin sentences, and are no names."""
    dates: frozenset[str] = frozenset()
    """Days and months that are written in upper case."""
    labels: frozenset[str] = frozenset()
    """What is told apart by letters: `plan B`."""
    links: frozenset[str] = frozenset()
    """Words in lower case that stand before somebody's initials: `by J. Smith`."""
    said: frozenset[str] = frozenset()
    """Verbs that follow what somebody said, and the one who said it."""
    ordinal_nouns: frozenset[str] = frozenset()
    """Nouns that are counted by ordinals with a full stop: `2. Weltkrieg`."""
    ordinal_cues: frozenset[str] = frozenset()
    """Words in front of such ordinals. None: the language has no such ordinals."""
    closes_after_space: bool = False
    """Whether quotes close behind a space: `? »`."""
    patterns: dict[str, re.Pattern[str]] = field(default_factory=dict, compare=False)
    """By the name of the set of abbreviations: whether a text ends in one of them."""

    def __post_init__(self) -> None:
        for name in ("never", "numeric", "names", "ends"):
            self.patterns[name] = _pattern(getattr(self, name))

    def __or__(self, other: Lexicon) -> Lexicon:
        return Lexicon(
            never=self.never | other.never,
            numeric=self.numeric | other.numeric,
            names=self.names | other.names,
            ends=self.ends | other.ends,
            starters=self.starters | other.starters,
            dates=self.dates | other.dates,
            labels=self.labels | other.labels,
            links=self.links | other.links,
            said=self.said | other.said,
            ordinal_nouns=self.ordinal_nouns | other.ordinal_nouns,
        )


def _pattern(words: frozenset[str]) -> re.Pattern[str]:
    forms = {form for word in words for form in (word, word[:1].upper() + word[1:])}
    spelt = "|".join(
        _INNER_STOP.sub(r"\\.\\s?", re.escape(form))
        for form in sorted(forms, key=lambda form: (-len(form), form))
    )
    return re.compile(rf"(?<![^\W_])(?<!\.)(?:{spelt})\Z")


_ENGLISH = Lexicon(
    never=_words(
        "Mr Mrs Ms Mx Messrs Dr Prof Gen Col Capt Lt Sgt Cpl Maj Adm Cmdr Rev Hon Sen Rep Gov Pres Supt Fr Mt Ft",
        "e.g i.e eg ie vs viz cf ca approx resp incl excl esp",
    ),
    numeric=_words(
        "no nos fig figs tab eq sec ch art vol nr p pp par ref tel Tel ext Ext min max",
        "Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun",
    ),
    names=_words(
        "U.S U.S.A U.K U.N E.U D.C L.A N.Y Ph.D M.D B.A M.A St Ave Blvd Rd Sq Inc Ltd Corp Co Bros Jr Sr Dept dept",
        "Univ Assn Gov.t al est misc",
    ),
    ends=_words("etc a.m p.m A.M P.M B.C A.D B.C.E C.E b.c a.d"),
    starters=_words(
        "A An The This That These Those It Its He His She Her Hers We Our They Their I I'm I've I'll I'd It's He's She's",
        "You Your My There Here Then When Where What Who Why How Which Whose If But And Or So Yet Because As At By For",
        "From In On Of To With After Before Since Until While Although Though However Also Once Now Today Yesterday",
        "Tomorrow Some Many Most All Both Each Every No Not Nobody Nothing Everybody Everyone Everything Somebody",
        "Someone Somehow Only Even Just Still Never Always Maybe Perhaps Please Yes Well Let Let's Don't Do Does Did",
        "Is Are Was Were Can Could Will Would Shall Should May Might Must Has Have Had Another Other One Two Three",
    ),
    dates=_words(
        "January February March April May June July August September October November December Monday Tuesday",
        "Wednesday Thursday Friday Saturday Sunday EST EDT CST PST PDT GMT UTC CET BST",
    ),
    labels=_words(
        "plan option vitamin type group grade class hepatitis section appendix part point letter note room gate hall",
        "exhibit answer question model version variant phase zone area block building terminal team",
    ),
    links=_words("by of to from with and for about against like than or as per via"),
    said=_words(
        "said asked replied answered shouted cried whispered yelled called added told says asks explained exclaimed",
        "muttered murmured laughed screamed repeated began continued insisted thought wondered",
    ),
)

_SPANISH = Lexicon(
    never=_words(
        "Sr Sra Srta Sres Sras Dr Dra Dres Prof Profa Lic Ing Arq Gral Cnel Cap Tte Sgto Excmo Excma Ilmo Mons Fr Sto",
        "Sta Dña p.ej ej pej EE FF CC RR JJ SS aprox Avda Av Avd c.c cf cfr vs Ntra Ctra Pza Pl",
    ),
    numeric=_words(
        "núm núms no nro pág págs p pp art arts cap caps vol fig tab tel tfno ext apdo ed min máx n"
    ),
    names=_words(
        "Ud Uds Vd Vds EE.UU EEUU FF.AA RR.HH JJ.OO CC.OO S.A S.L S.A.U Cía Hnos U.E O.N.U depto dpto"
    ),
    ends=_words("etc a.m p.m a.C d.C a.J.C d.J.C"),
    starters=_words(
        "El La Los Las Lo Un Una Unos Unas Este Esta Esto Estos Estas Ese Esa Eso Esos Aquel Aquella Yo Tú Él Ella",
        "Ellos Ellas Nosotros Usted Ustedes Mi Mis Tu Tus Su Sus Nuestro Nuestra Se Me Te Le Les Nos Os No Sí Ya Y O",
        "Pero Porque Aunque Cuando Donde Como Si Que Quien Qué Cómo Dónde Cuándo Quién Por Para Con Sin De Del En A Al",
        "Desde Hasta Entre Sobre Según Después Antes Luego Entonces También Además Hoy Ayer Mañana Ahora Aquí Allí Hay",
        "Es Son Era Fue Está Están Ha Han Todo Todos Todas Nadie Nada Algo Alguien Cada Muchos Muchas Otro Otra Dos Tres",
    ),
    dates=frozenset(),
    labels=_words(
        "plan opción vitamina tipo grupo clase hepatitis sección anexo parte punto letra nota sala puerta"
    ),
    links=_words("de del por con y e a para según como"),
)

_GERMAN = Lexicon(
    never=_words(
        "Dr Prof Hr Hrn Fr Frl Dipl.-Ing Dipl Ing Mag Lic med phil rer.nat jur z.B u.a u.U d.h z.T s.o s.u i.d.R o.Ä o.ä",
        "v.a i.A i.V m.E u.E z.Zt z.Z v.l.n.r ca bzw evtl ggf inkl exkl zzgl bzgl gem lt vgl sog bes insb insbes allg tägl",
        "jährl monatl wöchentl mtl einschl entspr etw ehem geb gest verh kath ev röm dt engl franz span lat griech",
        "Fa Fam Hl Kpt Hptm Gen Frhr Bhf Hbf vs",
    ),
    numeric=_words(
        "Nr Nrn S Abb Tab Abs Art Kap Bd Bde Ziff Anm Aufl Bl Tel Fax Ext Postf min max Min Max Std Pos Lfd.Nr",
        "Jan Feb Febr Apr Jun Jul Aug Sep Sept Okt Nov Dez Mo Di Mi Do Fr Sa So Str str strasse straße St",
    ),
    names=_words(
        "Chr n.Chr v.Chr Jh Jhd Jhdt Mio Mrd Tsd Mo Di Mi Do Sa e.V GmbH St Str Co Inc Ltd Jr jr Sen sen USD"
    ),
    ends=_words("usw usf etc u.ä u.Ä ff f"),
    starters=_words(
        "Der Die Das Den Dem Des Ein Eine Einen Einem Einer Dieser Diese Dieses Jener Ich Du Er Sie Es Wir Ihr Ihre",
        "Mein Meine Dein Deine Sein Seine Unser Unsere Euer Man Wer Was Wo Wann Warum Wie Welche Welcher Wenn Als Ob",
        "Weil Da Dann Danach Davor Dort Hier Heute Gestern Morgen Jetzt Nun Und Oder Aber Doch Denn Sondern Auch Nur",
        "Noch Schon Nicht Nie Niemand Nichts Alle Alles Viele Einige Manche Jeder Jede Jedes Kein Keine In Im An Am Auf",
        "Aus Bei Beim Mit Nach Von Vom Vor Zu Zum Zur Für Durch Gegen Ohne Um Unter Über Zwischen Seit Bis Während Ja",
        "Nein Vielleicht Bitte Danke Ist Sind War Waren Hat Haben Kann Können Wird Werden Muss Müssen Soll Sollen Darf",
        "Trotzdem Deshalb Daher Außerdem Später Zuerst Endlich Leider Siehe Dabei Damit Dafür Daran Darauf Sogar",
        "Komm Kommen Geh Gehen Nimm Lass Beide Jemand Mehr Wieder So",
    ),
    dates=frozenset(),
    labels=_words(
        "plan option vitamin typ gruppe klasse hepatitis abschnitt anhang teil punkt buchstabe note saal gate"
    ),
    links=_words("von vom mit und bei für an zu nach durch gegen wie als oder"),
    ordinal_nouns=_words(
        "Januar Jänner Februar Feber März April Mai Juni Juli August September Oktober November Dezember",
        "Jan Feb Mär Apr Jun Jul Aug Sep Sept Okt Nov Dez Jahrhundert Jahrhunderts Jahrhunderte Jh Jahrtausend Weltkrieg",
        "Weltkriegs Weltkrieges Stock Stockwerk Etage Obergeschoss Untergeschoss Geburtstag Geburtstags Todestag",
        "Jahrestag Klasse Schuljahr Semester Lebensjahr Mal Male Platz Rang Tag Tages Woche Monat Quartal Jahr Halbzeit",
        "Minute Spieltag Runde Auflage Kapitel Band Akt Szene Satz Symphonie Sinfonie Teil Abschnitt Absatz Reihe Liga",
        "Bundesliga Division Kreis Bezirk Hochzeitstag Gang Versuch Schritt Punkt Schicht Staffel Folge Ausgabe Armee",
        "Advent Person Grad Ordnung Dynastie Republik Generation",
    ),
    ordinal_cues=_words(
        "am vom zum beim im der die das den dem des ein eine einem einen einer eines jeder jede jedes jeden ihr ihre",
        "ihren ihrem ihrer sein seine seinen seinem seiner mein meine meinen meinem meiner dein deine deinen deinem",
        "unser unsere unseren unserem bis ab seit zur ins und oder beide ersten letzten dieser diese diesen diesem",
    ),
)

_FRENCH = Lexicon(
    never=_words(
        "M MM Dr Drs Pr Prof Mgr Me Mes St Ste Sts Gén Col Cap Lt p.ex c.-à-d c-à-d càd cf env av apr bd boul pl imp",
        "ch fg rte N.B vs éd coll trad réf adj adv hab Cie.G",
    ),
    numeric=_words(
        "n no nos p pp art chap vol fig tab t tél ext al min max sect janv févr avr juil sept oct nov déc"
    ),
    names=_words("O.N.U U.S.A U.E S.A S.N.C.F Cie Sté Éts Bros Inc Ltd al dép"),
    ends=_words("etc J.-C J.C av.J.-C apr.J.-C"),
    starters=_words(
        "Le La Les L' Un Une Des Ce Cet Cette Ces C' Ceci Cela Ça Je J' Tu Il Elle On Nous Vous Ils Elles Mon Ma Mes Ton",
        "Ta Tes Son Sa Ses Notre Votre Leur Leurs Et Ou Mais Donc Or Ni Car Que Qui Quoi Quand Où Comment Pourquoi Quel",
        "Quelle Si Comme Parce Puis Ensuite Alors Après Avant Depuis Pendant Dans En Au Aux À De Du D' Par Pour Avec Sans",
        "Sur Sous Chez Vers Entre Selon Ici Là Voici Voilà Hier Demain Maintenant Aussi Encore Toujours Jamais Ne N' Pas",
        "Non Oui Personne Rien Tout Tous Toute Toutes Chaque Plusieurs Certains Beaucoup Est Sont Était A Ont S' Il Y",
    ),
    dates=frozenset(),
    labels=_words(
        "plan option vitamine type groupe classe hépatite section annexe partie point lettre note salle porte réponse"
    ),
    links=_words("de d par avec et à pour chez du selon comme ou"),
    closes_after_space=True,
)

_ALL = _ENGLISH | _SPANISH | _GERMAN | _FRENCH
_ANY = Lexicon(
    # A single letter is rather somebody's initial than Monsieur.
    never=_ALL.never - _words("M MM Me Mes ch pl med Fr"),
    numeric=_ALL.numeric | _words("Fr"),
    names=_ALL.names,
    ends=_ALL.ends,
    starters=_ALL.starters,
    dates=_ALL.dates,
    labels=_ALL.labels,
    links=_ALL.links,
    said=_ALL.said,
    ordinal_nouns=_ALL.ordinal_nouns,
)
_BY_LANGUAGE = {"en": _ENGLISH, "es": _SPANISH, "de": _GERMAN, "fr": _FRENCH}


@cache
def lexicon(language: str) -> Lexicon:
    """The abbreviations of a language (ISO 639-1); what is common to all for one that is empty or unknown."""
    return _BY_LANGUAGE.get(language, _ANY)
